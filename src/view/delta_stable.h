/*
 * delta_stable.h
 *		Do expressions return the same for an old row now as when it was counted?
 */
#ifndef EDW_VIEW_DELTA_STABLE_H
#define EDW_VIEW_DELTA_STABLE_H

#include "nodes/nodes.h"

/*
 * Immutable, or of a date or time under the settings that a registered view's queries are run
 * with (execute.h). Anything else could take away another value than it once added.
 */
extern bool EdwIsRepeatable(Node *expr);

#endif							/* EDW_VIEW_DELTA_STABLE_H */
