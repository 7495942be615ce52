/*
 * delta_scale.h
 *		The scale of a numeric expression.
 */
#ifndef EDW_VIEW_DELTA_SCALE_H
#define EDW_VIEW_DELTA_SCALE_H

#include "nodes/nodes.h"

/* The scale that all its values have, other than NaN and infinities; -1: they may differ. */
extern int	EdwFixedScale(Node *expr);

#endif							/* EDW_VIEW_DELTA_SCALE_H */
