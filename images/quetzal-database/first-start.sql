-- Roles, databases and tables of a new Quetzal. Runs once, as the superuser, in the database that is called like it.
\getenv app_password QUETZAL_DB_PASSWORD
\getenv reader_password QUETZAL_DB_RO_PASSWORD

CREATE ROLE db_user LOGIN PASSWORD :'app_password';
CREATE ROLE db_ro_user LOGIN PASSWORD :'reader_password';
CREATE DATABASE quetzal OWNER db_user;
CREATE DATABASE unittests OWNER db_user;

\connect quetzal
SET ROLE db_user;
CREATE TABLE workspaces (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    description text,
    created timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE files (
    id uuid PRIMARY KEY,
    workspace bigint NOT NULL REFERENCES workspaces,
    filename text NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX files_metadata ON files USING gin (metadata);
-- What the application's threads and the worker keep of themselves, written all the time.
CREATE TABLE app_sessions (
    session uuid PRIMARY KEY,
    holder text NOT NULL,
    opened timestamptz NOT NULL DEFAULT now(),
    beats bigint NOT NULL DEFAULT 0
);

-- People query through views only: the tables themselves are closed to the reader.
CREATE SCHEMA readonly;
CREATE VIEW readonly.workspaces AS SELECT name, description, created FROM workspaces;
CREATE VIEW readonly.files AS
    SELECT workspaces.name AS workspace, files.filename, files.metadata
    FROM files JOIN workspaces ON workspaces.id = files.workspace;
GRANT USAGE ON SCHEMA readonly TO db_ro_user;
GRANT SELECT ON ALL TABLES IN SCHEMA readonly TO db_ro_user;
