package sqlstore

// estSchema holds what internal/estserver keeps. Pages are ordered by bytes, on which
// the engines agree, not by text: an id that is ordered by is its letters as bytes. An
// asker's undecided requests are counted under a row of est_askers, whose lock makes
// the count exact.
var estSchema = []string{
	`CREATE TABLE est_requests (
		id TEXT NOT NULL PRIMARY KEY, digest BYTEA NOT NULL UNIQUE,
		label TEXT NOT NULL, operation TEXT NOT NULL, identity TEXT NOT NULL,
		subject TEXT NOT NULL, names TEXT NOT NULL, key_hash BYTEA, csr BYTEA NOT NULL,
		password TEXT NOT NULL, address TEXT NOT NULL,
		state TEXT NOT NULL, reason TEXT NOT NULL, room TEXT NOT NULL, actor TEXT NOT NULL,
		created BIGINT NOT NULL, decided BIGINT NOT NULL, expires BIGINT NOT NULL, attempts BIGINT NOT NULL)`,
	`CREATE INDEX est_requests_by_age ON est_requests (created, digest)`,
	`CREATE INDEX est_requests_by_end ON est_requests (expires)`,
	`CREATE INDEX est_requests_undecided ON est_requests (created, digest) WHERE state = 'pending'`,
	`CREATE INDEX est_requests_of_askers ON est_requests (identity, expires) WHERE state = 'pending'`,
	`CREATE TABLE est_askers (identity TEXT NOT NULL PRIMARY KEY, turn BIGINT NOT NULL)`,
	`CREATE TABLE est_credentials (
		id BYTEA NOT NULL PRIMARY KEY, login TEXT NOT NULL, one_time BIGINT NOT NULL,
		labels TEXT NOT NULL, names TEXT NOT NULL, hash TEXT NOT NULL, digest BYTEA UNIQUE,
		ha1 TEXT NOT NULL, realm TEXT NOT NULL, request TEXT NOT NULL,
		created BIGINT NOT NULL, expires BIGINT NOT NULL)`,
	`CREATE UNIQUE INDEX est_credentials_standing ON est_credentials (login) WHERE one_time = 0`,
	`CREATE INDEX est_credentials_by_login ON est_credentials (login, created, id)`,
	`CREATE INDEX est_credentials_by_age ON est_credentials (created, id)`,
	`CREATE INDEX est_credentials_by_end ON est_credentials (expires) WHERE one_time = 1 AND expires > 0`,
	`CREATE INDEX est_credentials_bound ON est_credentials (request) WHERE request <> ''`,
	`CREATE TABLE est_device_keys (
		name BYTEA NOT NULL PRIMARY KEY, sealed BYTEA, public BYTEA, comment TEXT NOT NULL, created BIGINT NOT NULL)`,
	`CREATE INDEX est_device_keys_by_age ON est_device_keys (created, name)`,
	`CREATE TABLE est_archive (serial BYTEA NOT NULL PRIMARY KEY, enveloped BYTEA NOT NULL, created BIGINT NOT NULL)`,
}

// alikeSchema finds certificates by what a renewal has in common with them, by their
// key, and by who asked at the EST room. Certificates from before it are not found,
// and none of them came from there.
var alikeSchema = []string{
	`ALTER TABLE certificates ADD COLUMN alike BYTEA`,
	`ALTER TABLE certificates ADD COLUMN key_id BYTEA`,
	`CREATE INDEX certificates_alike ON certificates (alike, intended) WHERE alike IS NOT NULL`,
	`CREATE INDEX certificates_by_key_id ON certificates (key_id, intended) WHERE key_id IS NOT NULL`,
	`CREATE INDEX certificates_by_est_asker ON certificates (actor, intended) WHERE room = 'est'`,
}

// passphraseSchema keeps the hashes of what revokes certificates.
var passphraseSchema = []string{`CREATE TABLE est_passphrases (serial BYTEA NOT NULL PRIMARY KEY, hash TEXT NOT NULL, created BIGINT NOT NULL)`}

// waitingSchema keeps them for requests that wait.
var waitingSchema = []string{`ALTER TABLE est_requests ADD COLUMN passphrase TEXT NOT NULL DEFAULT ''`}

// secretSchema keeps passwords that are shared secrets of CMC, sealed.
var secretSchema = []string{`ALTER TABLE est_credentials ADD COLUMN sealed BYTEA`}
