-- What: collections whose queries' answers may be kept for the next one who asks the same,
-- and for each of them a number that every write raises.
-- Why: an answer that is kept must go in the very moment in which what it rests on
-- changes. A node compares numbers; it needs no message.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

ALTER TABLE collections
	ADD COLUMN answers_distance float8, -- null: no answer is kept; 0: of the same question alone
	ADD COLUMN answers_age int,         -- seconds
	ADD CHECK ((answers_distance IS NULL) = (answers_age IS NULL));
GRANT INSERT (answers_distance, answers_age), UPDATE (answers_distance, answers_age) ON collections TO tars_app;

-- A row for each collection that keeps answers, made when that begins. Every transaction
-- that writes records raises it, and so waits for the one before it.
CREATE TABLE collection_writes (
	tenant_id     text COLLATE "C" NOT NULL,
	collection_id bigint NOT NULL,
	version       bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, -- so that none comes twice
	PRIMARY KEY (tenant_id, collection_id),
	FOREIGN KEY (collection_id) REFERENCES collections (collection_id) ON DELETE CASCADE
);
SELECT tars.protect('collection_writes');
GRANT SELECT, INSERT, UPDATE, DELETE ON collection_writes TO tars_app;

COMMENT ON SCHEMA tars IS 'version 14';

RESET ROLE;
