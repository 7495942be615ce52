/*
 * delta_net.h
 *		Captured rows without those that cancel each other out.
 */
#ifndef EDW_VIEW_DELTA_NET_H
#define EDW_VIEW_DELTA_NET_H

#include "utils/queryenvironment.h"
#include "view/delta_plan.h"

/*
 * The captured rows of relations (OID), reduced to the columns that the view reads: what left and came
 * again with the same values is no change, and is left out. Relations of which nothing
 * remains are taken off the list; *told is of how many rows the planner is best told, at most.
 */
extern QueryEnvironment *EdwDeltaNetChange(const EdwDelta *delta, List **changed, double *told);

#endif							/* EDW_VIEW_DELTA_NET_H */
