-- What: how well each collection's index answers, as measured on live searches.
-- Why: what an index misses nobody sees. A share of the searches is carried out
-- once more exactly, in the background; where too much is missed, the searches of
-- that kind look further. Shared by all nodes, kept over restarts.

SET LOCAL ROLE tars_owner;
SET LOCAL search_path = tars, public;

CREATE TABLE recall_measured (
	tenant_id     text COLLATE "C" NOT NULL,
	collection_id bigint NOT NULL REFERENCES collections (collection_id) ON DELETE CASCADE,
	bucket        text NOT NULL CHECK (bucket IN ('unfiltered', 'from_10_percent', 'from_1_percent', 'below_1_percent')), -- share of records that pass the filter
	-- Sums over the samples since ef or exact last changed. Each new one has weight 1,
	-- and takes 1 % of their weight from those before it.
	weight        float8 NOT NULL DEFAULT 0,
	weight_square float8 NOT NULL DEFAULT 0, -- of the squares of the weights
	recall        float8 NOT NULL DEFAULT 0, -- of weight times recall@k
	recall_square float8 NOT NULL DEFAULT 0, -- of weight times its square
	samples       bigint NOT NULL DEFAULT 0, -- their number
	-- In force for searches that name no ef.
	ef            int NOT NULL DEFAULT 0 CHECK (ef BETWEEN 0 AND 1000), -- at least this; 0: as without measuring
	exact         boolean NOT NULL DEFAULT false, -- compare all, where that can be afforded
	raised_at     timestamptz, -- when either was last raised
	updated_at    timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (tenant_id, collection_id, bucket)
);
CREATE INDEX recall_measured_by_collection ON recall_measured (collection_id); -- for the end of a collection
SELECT tars.protect('recall_measured');
GRANT SELECT, INSERT, UPDATE ON recall_measured TO tars_app;

COMMENT ON SCHEMA tars IS 'version 6';

RESET ROLE;
