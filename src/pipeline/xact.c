/*
 * xact.c
 *		Beginning and ending transactions: in a worker, or within CALL drain().
 *
 * Isolation is READ COMMITTED whatever the role's default: fencing relies on a
 * locked row being read as it is now. In a session the work runs as the
 * stream's owner; where that is not the caller, as a security-restricted operation, so that
 * the owner's triggers cannot act with the caller's rights.
 */
#include "postgres.h"

#include "pipeline/xact.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

static void
become_owner(EdwXact *xact)
{
	GetUserIdAndSecContext(&xact->saved_user, &xact->saved_security);
	if (OidIsValid(xact->owner) && xact->owner != xact->saved_user)
		SetUserIdAndSecContext(xact->owner,
							   xact->saved_security | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	xact->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static void
become_caller(EdwXact *xact)
{
	AtEOXact_GUC(false, xact->guc_level);
	SetUserIdAndSecContext(xact->saved_user, xact->saved_security);
}

void
EdwXactBegin(EdwXact *xact)
{
	Assert(!xact->open);
	xact->caller_context = CurrentMemoryContext;
	if (!xact->session)
	{
		StartTransactionCommand();
		XactReadOnly = RecoveryInProgress();	/* whatever the role's default */
	}
	xact->open = true;
	XactIsoLevel = XACT_READ_COMMITTED;

	if (xact->session)
	{
		xact->caller_owner = CurrentResourceOwner;
		BeginInternalSubTransaction(NULL);
		xact->in_subxact = true;
		become_owner(xact);
	}
	MemoryContextSwitchTo(xact->caller_context);
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
EdwXactCommit(EdwXact *xact)
{
	Assert(xact->open);
	PopActiveSnapshot();
	if (xact->session)
	{
		become_caller(xact);
		ReleaseCurrentSubTransaction();
		xact->in_subxact = false;
		CurrentResourceOwner = xact->caller_owner;
		MemoryContextSwitchTo(xact->caller_context);
		if (!xact->nested)
			SPI_commit();
	}
	else
		CommitTransactionCommand();
	xact->open = false;
	MemoryContextSwitchTo(xact->caller_context);
}

void
EdwXactAbort(EdwXact *xact)
{
	if (!xact->open)
		return;
	if (xact->session)
	{
		if (xact->in_subxact)
		{
			RollbackAndReleaseCurrentSubTransaction();
			xact->in_subxact = false;
			CurrentResourceOwner = xact->caller_owner;
		}
		MemoryContextSwitchTo(xact->caller_context);
		if (!xact->nested)
			SPI_rollback();
	}
	else
		AbortCurrentTransaction();
	xact->open = false;
	MemoryContextSwitchTo(xact->caller_context);
}
