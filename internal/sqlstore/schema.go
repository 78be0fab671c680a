package sqlstore

// coreSchema holds what internal/ca keeps. Serials and hashes are bytes, times
// Unix milliseconds with 0 for none.
var coreSchema = []string{
	`CREATE TABLE certificates (
		serial BYTEA NOT NULL PRIMARY KEY,
		request TEXT NOT NULL UNIQUE,
		room TEXT NOT NULL, actor TEXT NOT NULL,
		profile TEXT NOT NULL, issuer TEXT NOT NULL,
		key_hash BYTEA, names TEXT NOT NULL, subject TEXT NOT NULL,
		not_before BIGINT NOT NULL, not_after BIGINT NOT NULL,
		intended BIGINT NOT NULL, lease BIGINT NOT NULL, settled BIGINT NOT NULL,
		tbs BYTEA, seal BYTEA, der BYTEA,
		revoked BIGINT NOT NULL, reason BIGINT NOT NULL, shard BIGINT NOT NULL)`,
	`CREATE INDEX certificates_by_age ON certificates (intended, serial)`,
	`CREATE INDEX certificates_unsettled ON certificates (lease) WHERE settled = 0 AND revoked = 0`,
	`CREATE INDEX certificates_of_authorities ON certificates (intended) WHERE profile = 'authority'`,
	`CREATE INDEX certificates_revoked ON certificates (issuer, shard, not_after) WHERE revoked > 0`,
	`CREATE TABLE certificate_names (
		name TEXT NOT NULL, serial BYTEA NOT NULL, PRIMARY KEY (name, serial))`,
	`CREATE TABLE blocked_keys (key_hash BYTEA NOT NULL PRIMARY KEY, at BIGINT NOT NULL)`,
	`CREATE TABLE crls (
		issuer TEXT NOT NULL, shard BIGINT NOT NULL, number BIGINT NOT NULL,
		this_update BIGINT NOT NULL, next_update BIGINT NOT NULL, der BYTEA,
		noted BIGINT NOT NULL, built BIGINT NOT NULL, PRIMARY KEY (issuer, shard))`,
	`CREATE TABLE issuers (
		id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, root BIGINT NOT NULL, state TEXT NOT NULL,
		key_name TEXT NOT NULL, parent TEXT NOT NULL, shards BIGINT NOT NULL, status_url TEXT NOT NULL,
		created BIGINT NOT NULL)`,
	`CREATE TABLE issuer_certificates (
		issuer TEXT NOT NULL, n BIGINT NOT NULL, der BYTEA NOT NULL, PRIMARY KEY (issuer, n))`,
	`CREATE TABLE spent (token BYTEA NOT NULL PRIMARY KEY, expires BIGINT NOT NULL)`,
	`CREATE INDEX spent_by_expiry ON spent (expires)`,
	`CREATE TABLE nonce_keys (id BIGINT NOT NULL PRIMARY KEY, secret BYTEA NOT NULL, created BIGINT NOT NULL)`,
	`CREATE TABLE events (
		id TEXT NOT NULL PRIMARY KEY, at BIGINT NOT NULL, kind TEXT NOT NULL,
		room TEXT NOT NULL, actor TEXT NOT NULL, subject TEXT NOT NULL, detail TEXT NOT NULL)`,
	`CREATE INDEX events_by_subject ON events (subject, at)`,
}

// importedSchema holds what imported authorities revoked elsewhere. Serial
// numbers are an authority's own: two of them may have revoked their number 1.
var importedSchema = []string{
	`CREATE TABLE imported_revocations (
		issuer TEXT NOT NULL, serial BYTEA NOT NULL, at BIGINT NOT NULL, reason BIGINT NOT NULL,
		shard BIGINT NOT NULL, until BIGINT NOT NULL, PRIMARY KEY (issuer, serial))`,
	`INSERT INTO imported_revocations (issuer, serial, at, reason, shard, until)
		SELECT issuer, serial, revoked, reason, shard, not_after FROM certificates WHERE room = 'core' AND actor = 'import'`,
	`DELETE FROM certificates WHERE room = 'core' AND actor = 'import'`,
}
