/*
 * session.c
 *		What the sessions of our worker processes have in common.
 */
#include "postgres.h"

#include "worker/session.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "worker/database.h"
#include "worker/shared.h"

static emit_log_hook_type previous_emit_log;

static const struct
{
	const char *name;
	const char *value;
}			session_settings[] =
{
	{"search_path", ""},
	{"session_replication_role", "origin"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"statement_timeout", "0"},
	{"lock_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"datestyle", "ISO"},
	{"intervalstyle", "postgres"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"}
};

void
EdwSessionSetUp(const char *application_name, bool synchronous_commit)
{
	for (size_t i = 0; i < lengthof(session_settings); i++)
		SetConfigOption(session_settings[i].name, session_settings[i].value,
						PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", synchronous_commit ? "on" : "off",
					PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("application_name", application_name, PGC_USERSET, PGC_S_OVERRIDE);
}

static void
note_error(ErrorData *edata)
{
	if (edata->elevel >= ERROR && edata->message &&
		edata->sqlerrcode != ERRCODE_ADMIN_SHUTDOWN)
		strlcpy(EdwMyCounters()->last_error, edata->message,
				sizeof(EdwMyCounters()->last_error));
	if (previous_emit_log)
		previous_emit_log(edata);
}

void
EdwSessionNoteErrors(void)
{
	previous_emit_log = emit_log_hook;
	emit_log_hook = note_error;
}

bool
EdwSessionExtensionIsGone(void)
{
	bool		gone;

	HOLD_INTERRUPTS();
	AbortOutOfAnyTransaction();
	RESUME_INTERRUPTS();
	StartTransactionCommand();
	gone = EdwExtensionVersion() == NULL;
	CommitTransactionCommand();
	return gone;
}
