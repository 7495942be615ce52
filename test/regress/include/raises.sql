-- pg_temp.raises(statement), for the api_* tests, which include this:
--     \getenv srcdir PG_ABS_SRCDIR
--     \set include :srcdir '/include/raises.sql'
--     \set ECHO none
--     \i :include
--     \set ECHO all
-- what a statement raises: SQLSTATE, message, detail, hint
CREATE FUNCTION pg_temp.raises(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text; context text;
BEGIN
	EXECUTE statement;
	RETURN NEXT 'nothing raised';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	RETURN NEXT state || ': ' || message;
	IF detail <> '' THEN RETURN NEXT 'DETAIL: ' || detail; END IF;
	IF hint <> '' THEN RETURN NEXT 'HINT: ' || hint; END IF;
	IF context ~ '^(expression|filter|option|mapping)' THEN
		RETURN NEXT 'CONTEXT: ' || split_part(context, E'\n', 1);
	END IF;
END $$;
