-- servers and user mappings of edw_kafka and edw_registry: what the validators take
SET client_min_messages = warning;
CREATE ROLE regress_conn_owner;
CREATE ROLE regress_conn_other;

-- H1: an unknown option is an error that names the nearest one
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.server" 'h:9092');
\echo :SQLSTATE
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" 'h:9092', "fetch.wait.max" '1');
\echo :SQLSTATE
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" 'h:9092', zzzzzzzzzzzz '1');
\echo :SQLSTATE
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka;
\echo :SQLSTATE
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" '');
\echo :SQLSTATE

-- librdkafka judges the values
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" 'h:9092', "security.protocol" 'telnet');
\echo :SQLSTATE
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" 'h:9092', "socket.timeout.ms" '1');
\echo :SQLSTATE
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" 'h:9092', "topic.metadata.refresh.interval.ms" '50');
\echo :SQLSTATE

-- K1, K3, K8: what would break the rules is refused with its reason, at every place
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" 'h:9092', "enable.auto.commit" 'true');
\echo :SQLSTATE
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" 'h:9092', "auto.offset.reset" 'latest');
\echo :SQLSTATE
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" 'h:9092', "queued.max.messages.kbytes" '1000000');
\echo :SQLSTATE
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" 'h:9092', "plugin.library.paths" '/tmp/evil.so');
\echo :SQLSTATE
DO $$
DECLARE
	name text;
	said text;
	detail text;
BEGIN
	FOREACH name IN ARRAY ARRAY['enable.auto.offset.store', 'group.id', 'group.instance.id',
		'partition.assignment.strategy', 'enable.partition.eof', 'log.queue', 'log_cb', 'error_cb', 'rebalance_cb',
		'opaque', 'interceptors', 'statistics.interval.ms', 'internal.termination.signal', 'ssl.engine.location',
		'ssl.providers', 'sasl.kerberos.kinit.cmd', 'sasl.kerberos.principal', 'allow.auto.create.topics',
		'metadata.broker.list', 'max.partition.fetch.bytes', 'fetch.max.bytes', 'offset.store.path']
	LOOP
		BEGIN
			EXECUTE format('CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" ''h:9092'', %I ''1'')', name);
			RAISE WARNING '% was taken', name;
		EXCEPTION WHEN fdw_invalid_option_name THEN
			GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
			RAISE WARNING '% (%)', said, detail;
		END;
	END LOOP;
END $$;

-- what says where and how is taken
CREATE SERVER s FOREIGN DATA WRAPPER edw_kafka
	OPTIONS ("bootstrap.servers" 'h:9092', "client.id" 'warehouse', "client.rack" 'a', "socket.keepalive.enable" 'true',
		"fetch.wait.max.ms" '100', "isolation.level" 'read_uncommitted', "security.protocol" 'sasl_ssl',
		"sasl.mechanism" 'SCRAM-SHA-512', "ssl.ca.location" '/etc/ssl/certs', "debug" 'broker,security',
		"topic.metadata.refresh.interval.ms" '500');
\echo :SQLSTATE
ALTER SERVER s OPTIONS (DROP "bootstrap.servers");
\echo :SQLSTATE
ALTER SERVER s OPTIONS (SET "isolation.level" 'read_committed');
\echo :SQLSTATE

-- secrets belong to the user mapping, and nobody learns a refused one
CREATE SERVER s2 FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" 'h:9092', "sasl.password" 'hunter2');
\echo :SQLSTATE
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS ("bootstrap.servers" 'h:9092');
\echo :SQLSTATE
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS ("sasl.pasword" 'hunter2');
\echo :SQLSTATE
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS ("sasl.password" 'hunter2', "sasl.password.file" '/x');
\echo :SQLSTATE
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS ("ssl.key.location.file" '/x');
\echo :SQLSTATE
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS ("sasl.username" 'u', "sasl.password.file" '/nowhere/kafka');
\echo :SQLSTATE
DROP USER MAPPING FOR CURRENT_USER SERVER s;
ALTER FOREIGN DATA WRAPPER edw_kafka OPTIONS (ADD "bootstrap.servers" 'h:9092');
\echo :SQLSTATE

-- files of the server: for superusers and pg_read_server_files only
GRANT USAGE ON FOREIGN SERVER s TO regress_conn_owner;
SET ROLE regress_conn_owner;
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS ("sasl.username" 'u', "sasl.password.file" '/etc/passwd');
\echo :SQLSTATE
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS ("ssl.key.location" '/etc/ssl/private/key.pem');
\echo :SQLSTATE
RESET ROLE;
GRANT pg_read_server_files TO regress_conn_owner;
SET ROLE regress_conn_owner;
CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS ("sasl.username" 'u', "sasl.password.file" '/nowhere/kafka');
\echo :SQLSTATE
RESET ROLE;
REVOKE pg_read_server_files FROM regress_conn_owner;
SET ROLE regress_conn_owner;
ALTER USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (SET "sasl.username" 'v');
\echo :SQLSTATE
ALTER USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (DROP "sasl.password.file", ADD "sasl.password" 'hunter2');
\echo :SQLSTATE
-- one's own secrets are one's own
SELECT umoptions FROM pg_user_mappings WHERE srvname = 's' AND usename = current_user;
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER s TO regress_conn_other;
SET ROLE regress_conn_other;
SELECT usename, umoptions FROM pg_user_mappings WHERE srvname = 's';
RESET ROLE;

-- who may use a server: its USAGE and a mapping, of one's own or PUBLIC's
GRANT EXECUTE ON FUNCTION edw_stream.create_stream TO regress_conn_other, regress_conn_owner;
GRANT USAGE ON SCHEMA edw_stream TO regress_conn_other, regress_conn_owner;
SET ROLE regress_conn_other;
SELECT edw_stream.create_stream('conn', 'nowhere', '{t}');
\echo :SQLSTATE
SELECT edw_stream.create_stream('conn', 's', '{t}');
\echo :SQLSTATE
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER s FROM regress_conn_owner;
SET ROLE regress_conn_owner;
SELECT edw_stream.create_stream('conn', 's', '{t}');
\echo :SQLSTATE
RESET ROLE;
CREATE SERVER r FOREIGN DATA WRAPPER edw_registry OPTIONS (url 'http://h:8081');
\echo :SQLSTATE
CREATE USER MAPPING FOR PUBLIC SERVER r;
\echo :SQLSTATE
SELECT edw_stream.create_stream('conn', 'r', '{t}');
\echo :SQLSTATE

-- a file that cannot be read, told without its name to whoever owns the stream
CREATE SERVER f FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" '127.0.0.1:1', "security.protocol" 'sasl_plaintext', "sasl.mechanism" 'PLAIN');
\echo :SQLSTATE
CREATE USER MAPPING FOR CURRENT_USER SERVER f OPTIONS ("sasl.username" 'u', "sasl.password.file" '/nowhere/kafka');
\echo :SQLSTATE
SELECT edw_stream.create_stream('conn', 'f', '{t}');
\echo :SQLSTATE

-- the registry's options
CREATE SERVER r2 FOREIGN DATA WRAPPER edw_registry OPTIONS (uri 'http://h:8081');
\echo :SQLSTATE
CREATE SERVER r2 FOREIGN DATA WRAPPER edw_registry OPTIONS (url 'h:8081');
\echo :SQLSTATE
CREATE SERVER r2 FOREIGN DATA WRAPPER edw_registry OPTIONS (url 'http://u:hunter2@h:8081');
\echo :SQLSTATE
CREATE SERVER r2 FOREIGN DATA WRAPPER edw_registry OPTIONS (url 'http://h:8081', password 'hunter2');
\echo :SQLSTATE
CREATE USER MAPPING FOR CURRENT_USER SERVER r OPTIONS (username 'u', password 'hunter2');
\echo :SQLSTATE

SELECT count(*) FROM edw_stream.streams WHERE name = 'conn';
DROP SERVER s CASCADE;
DROP SERVER f CASCADE;
DROP SERVER r CASCADE;
REVOKE EXECUTE ON FUNCTION edw_stream.create_stream FROM regress_conn_other, regress_conn_owner;
REVOKE USAGE ON SCHEMA edw_stream FROM regress_conn_other, regress_conn_owner;
DROP ROLE regress_conn_owner, regress_conn_other;
