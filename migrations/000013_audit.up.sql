-- What: the audit log, a chain of events for each tenant and one for the operator.
-- Why: who did what to which, from where, and what came of it, so that nobody can take an
-- event out or change one without breaking the chain: each event has the hash of the one
-- before in its own.
-- The service adds events and reads them, and no role changes one. Background work alone
-- deletes them, from the oldest on.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

CREATE TABLE audit_events (
	-- No reference: a log outlives its tenant. That of the operator is of '(operator)',
	-- which no tenant can be named.
	tenant_id  text COLLATE "C" NOT NULL,
	seq        bigint NOT NULL CHECK (seq > 0),
	event_id   text COLLATE "C" NOT NULL, -- so that one which is sent twice is kept once
	at         timestamptz NOT NULL,
	actor      text NOT NULL,
	remote     text NOT NULL,
	operation  text NOT NULL,
	kind       text NOT NULL, -- of the object
	name       text NOT NULL,
	status     int NOT NULL,
	outcome    text NOT NULL,
	request_id text NOT NULL,
	details    text[] NOT NULL,
	previous   bytea NOT NULL CHECK (octet_length(previous) = 32),
	hash       bytea NOT NULL CHECK (octet_length(hash) = 32),
	PRIMARY KEY (tenant_id, seq),
	UNIQUE (tenant_id, event_id)
);
CREATE INDEX audit_events_by_age ON audit_events (at);
SELECT tars.protect('audit_events');
GRANT SELECT, INSERT ON audit_events TO tars_app;
CREATE POLICY all_rows ON audit_events TO tars_jobs USING (true) WITH CHECK (true);
GRANT SELECT (tenant_id, seq, at, hash), DELETE ON audit_events TO tars_jobs;

-- Where each chain ends, and what was swept from its beginning. Who adds events holds the
-- row, so that several nodes make one chain.
CREATE TABLE audit_heads (
	tenant_id  text COLLATE "C" PRIMARY KEY,
	seq        bigint NOT NULL DEFAULT 0,
	hash       bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
	swept_seq  bigint NOT NULL DEFAULT 0,
	swept_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
);
SELECT tars.protect('audit_heads');
GRANT SELECT ON audit_heads TO tars_app;
CREATE POLICY all_rows ON audit_heads TO tars_jobs, tars_owner USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE (swept_seq, swept_hash) ON audit_heads TO tars_jobs;

-- Holds the head of the chain of this transaction's tenant, to its end, and returns it.
CREATE FUNCTION tars.audit_head(OUT seq bigint, OUT hash bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, pg_temp AS $$
DECLARE
	owner text := tenant();
BEGIN
	LOOP
		SELECT h.seq, h.hash INTO audit_head.seq, audit_head.hash FROM audit_heads h WHERE h.tenant_id = owner FOR UPDATE;
		EXIT WHEN FOUND;
		INSERT INTO audit_heads (tenant_id) VALUES (owner) ON CONFLICT DO NOTHING;
	END LOOP;
END $$;
REVOKE ALL ON FUNCTION tars.audit_head() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tars.audit_head() TO tars_app;

-- An event goes on from the head of its chain, or is refused: whatever the service does,
-- a chain has no gap and no fork.
CREATE FUNCTION tars.audit_extend() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tars, pg_temp AS $$
BEGIN
	UPDATE audit_heads SET seq = NEW.seq, hash = NEW.hash
	WHERE tenant_id = NEW.tenant_id AND seq = NEW.seq - 1 AND hash = NEW.previous;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'the event does not go on from the head of its chain' USING ERRCODE = 'integrity_constraint_violation';
	END IF;
	RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION tars.audit_extend() FROM PUBLIC;
CREATE TRIGGER audit_extend BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION tars.audit_extend();

COMMENT ON SCHEMA tars IS 'version 13';

RESET ROLE;
