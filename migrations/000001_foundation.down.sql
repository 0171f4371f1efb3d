-- Undoes 000001: everything of TARS in this database, with all data. The roles and
-- the extension stay: they may serve other databases and schemas.
DROP SCHEMA tars CASCADE;
