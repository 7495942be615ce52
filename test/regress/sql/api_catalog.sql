-- the extension's own objects: documented, private, dumped
\pset format unaligned
\pset tuples_only on

-- each function, table, view and column of a view has a comment
WITH members AS (
	SELECT classid, objid FROM pg_depend
	WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'edw_stream')
)
SELECT pg_describe_object(classid, objid, 0) FROM members m
WHERE classid IN ('pg_proc'::regclass, 'pg_foreign_data_wrapper'::regclass)
		AND obj_description(objid, (SELECT relname FROM pg_class WHERE oid = m.classid)) IS NULL
	OR classid = 'pg_class'::regclass AND obj_description(objid, 'pg_class') IS NULL
		AND (SELECT relkind FROM pg_class WHERE oid = objid) <> 'S'
UNION ALL
SELECT format('column %s of view %s', attname, attrelid::regclass)
FROM members JOIN pg_class ON oid = objid AND relkind = 'v' JOIN pg_attribute ON attrelid = objid
WHERE classid = 'pg_class'::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NULL
ORDER BY 1;

-- no table is anybody's but the extension owner's
SELECT oid::regclass, relacl FROM pg_class
WHERE relnamespace = 'edw_stream'::regnamespace AND relkind IN ('r', 'S')
	AND EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee <> relowner);

-- what PUBLIC may do
SELECT oid::regclass FROM pg_class
WHERE relnamespace = 'edw_stream'::regnamespace AND has_table_privilege('pg_signal_backend', oid, 'SELECT')
ORDER BY oid::regclass::text;
SELECT oid::regprocedure FROM pg_proc
WHERE pronamespace = 'edw_stream'::regnamespace AND has_function_privilege('pg_signal_backend', oid, 'EXECUTE')
ORDER BY oid::regprocedure::text;

-- views show rows by owner: a function in a query's WHERE must not see the others first
SELECT oid::regclass FROM pg_class
WHERE relnamespace = 'edw_stream'::regnamespace AND relkind = 'v'
	AND NOT coalesce('security_barrier=true' = ANY (reloptions), false);

-- state that is no mere history goes into a dump
SELECT t::regclass FROM pg_extension, unnest(extconfig) t WHERE extname = 'edw_stream' ORDER BY t::regclass::text;

-- bytes of any kind can be shown
SELECT edw_stream.readable(''), edw_stream.readable('\x61C3A962'), edw_stream.readable('\x00'),
	edw_stream.readable('\xFF41C3'), edw_stream.readable('\xEDA080'), edw_stream.readable(NULL) IS NULL;
