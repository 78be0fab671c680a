package sqlstore

// registrySchema holds external account keys. Their secrets are sealed under a
// key that is not in the database: who reads the table cannot open an account.
var registrySchema = []string{
	`CREATE TABLE external_keys (
		id TEXT NOT NULL PRIMARY KEY, label TEXT NOT NULL, sealed BYTEA NOT NULL,
		room TEXT NOT NULL, actor TEXT NOT NULL,
		created BIGINT NOT NULL, expires BIGINT NOT NULL, withdrawn BIGINT NOT NULL,
		used BIGINT NOT NULL, account TEXT NOT NULL)`,
	`CREATE INDEX external_keys_by_age ON external_keys (created)`,
}

// peopleSchema holds customers, what is known of them, and which account is
// theirs. Of passphrases, codes and the tokens in letters it has hashes alone.
var peopleSchema = []string{
	`CREATE TABLE customers (
		id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, suspended BIGINT NOT NULL,
		passphrase TEXT NOT NULL, failures BIGINT NOT NULL, blocked BIGINT NOT NULL,
		room TEXT NOT NULL, actor TEXT NOT NULL, created BIGINT NOT NULL)`,
	`CREATE INDEX customers_by_age ON customers (created)`,
	`CREATE TABLE customer_contacts (
		customer TEXT NOT NULL, address TEXT NOT NULL, added BIGINT NOT NULL,
		verified BIGINT NOT NULL, how TEXT NOT NULL, PRIMARY KEY (customer, address))`,
	`CREATE INDEX customer_contacts_by_address ON customer_contacts (address)`,
	`CREATE TABLE customer_vettings (
		customer TEXT NOT NULL, kind TEXT NOT NULL, organization TEXT NOT NULL, country TEXT NOT NULL,
		locality TEXT NOT NULL, province TEXT NOT NULL, serial TEXT NOT NULL, until BIGINT NOT NULL,
		room TEXT NOT NULL, actor TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (customer, kind))`,
	`CREATE TABLE customer_domains (
		customer TEXT NOT NULL, name TEXT NOT NULL, token TEXT NOT NULL, added BIGINT NOT NULL,
		proven BIGINT NOT NULL, expires BIGINT NOT NULL, how TEXT NOT NULL, PRIMARY KEY (customer, name))`,
	`CREATE INDEX customer_domains_by_name ON customer_domains (name)`,
	`CREATE TABLE bindings (
		id TEXT NOT NULL PRIMARY KEY, account TEXT NOT NULL, account_url TEXT NOT NULL, customer TEXT NOT NULL,
		via TEXT NOT NULL, domain TEXT NOT NULL, contact TEXT NOT NULL, thumb TEXT NOT NULL, state TEXT NOT NULL,
		asked BIGINT NOT NULL, expires BIGINT NOT NULL, decided BIGINT NOT NULL,
		room TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL, told BIGINT NOT NULL)`,
	`CREATE UNIQUE INDEX bindings_open ON bindings (account, customer) WHERE state IN ('pending', 'confirmed')`,
	`CREATE INDEX bindings_by_account ON bindings (account, asked)`,
	`CREATE INDEX bindings_by_customer ON bindings (customer, asked)`,
	`CREATE INDEX bindings_by_contact ON bindings (contact, asked) WHERE via = 'mail'`,
	`CREATE INDEX bindings_pending ON bindings (asked) WHERE state = 'pending'`,
	`CREATE INDEX bindings_by_age ON bindings (asked)`,
	`CREATE TABLE letters (
		kind TEXT NOT NULL, subject TEXT NOT NULL, address TEXT NOT NULL, hashes BYTEA NOT NULL,
		created BIGINT NOT NULL, due BIGINT NOT NULL, dies BIGINT NOT NULL, tries BIGINT NOT NULL,
		guesses BIGINT NOT NULL, sent BIGINT NOT NULL, PRIMARY KEY (kind, subject, address))`,
	`CREATE INDEX letters_due ON letters (due) WHERE sent = 0`,
	`CREATE INDEX letters_by_end ON letters (dies)`,
	`ALTER TABLE external_keys ADD COLUMN customer TEXT NOT NULL DEFAULT ''`,
	`ALTER TABLE external_keys ADD COLUMN algorithm TEXT NOT NULL DEFAULT ''`,
	`ALTER TABLE external_keys ADD COLUMN most BIGINT NOT NULL DEFAULT 1`,
	`ALTER TABLE external_keys ADD COLUMN uses BIGINT NOT NULL DEFAULT 0`,
	`UPDATE external_keys SET uses = 1 WHERE used > 0`,
	`CREATE TABLE external_key_uses (
		account TEXT NOT NULL PRIMARY KEY, external_key TEXT NOT NULL, at BIGINT NOT NULL)`,
	`CREATE INDEX external_key_uses_by_key ON external_key_uses (external_key, at)`,
	`INSERT INTO external_key_uses (account, external_key, at) SELECT account, id, used FROM external_keys WHERE used > 0`,
}

// pairSchema finds what was asked of a customer for an account, also where he has
// thousands of bindings.
var pairSchema = []string{`CREATE INDEX bindings_by_pair ON bindings (account, customer)`}

// belowSchema finds the domains below a name, of which each is noted under every name
// above it.
var belowSchema = []string{
	`CREATE TABLE customer_domains_below (
		above TEXT NOT NULL, customer TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (above, customer, name))`,
	`INSERT INTO customer_domains_below (above, customer, name)
		WITH RECURSIVE shorter (customer, name, rest) AS (
			SELECT customer, name, name FROM customer_domains
			UNION ALL SELECT customer, name, substr(rest, 2) FROM shorter WHERE length(rest) > 1)
		SELECT substr(rest, 2), customer, name FROM shorter WHERE rest LIKE '.%'`,
}

// registrationSchema has of a vetting also as what, and in which country, the
// customer is registered.
var registrationSchema = []string{
	`ALTER TABLE customer_vettings ADD COLUMN category TEXT NOT NULL DEFAULT ''`,
	`ALTER TABLE customer_vettings ADD COLUMN jurisdiction TEXT NOT NULL DEFAULT ''`,
}
