package sqlstore

import (
	"context"

	"chancery/internal/sqldb"
)

// migrations is the schema's history; entries are added, never changed.
var migrations = []sqldb.Migration{
	{Number: 1, Name: "core", SQL: coreSchema},
	{Number: 2, Name: "acme accounts", SQL: accountsSchema},
	{Number: 3, Name: "acme orders", SQL: ordersSchema},
	{Number: 4, Name: "registry", SQL: registrySchema},
	{Number: 5, Name: "seen nonces", SQL: seenSchema},
	{Number: 6, Name: "imported revocations", SQL: importedSchema},
	{Number: 7, Name: "ended authorizations", SQL: endedSchema},
	{Number: 8, Name: "held authorizations", SQL: heldSchema},
	{Number: 9, Name: "people", SQL: peopleSchema},
	{Number: 10, Name: "bindings by pair", SQL: pairSchema},
	{Number: 11, Name: "vetted registration", SQL: registrationSchema},
	{Number: 12, Name: "est", SQL: estSchema},
	{Number: 13, Name: "certificates alike", SQL: alikeSchema},
	{Number: 14, Name: "est shared secrets", SQL: secretSchema},
	{Number: 15, Name: "est passphrases", SQL: passphraseSchema},
	{Number: 16, Name: "pending authorizations", SQL: pendingSchema},
	{Number: 17, Name: "domains below", SQL: belowSchema},
	{Number: 18, Name: "est passphrases of requests", SQL: waitingSchema},
}

// Migrate brings the database to this release's schema.
func Migrate(ctx context.Context, db *sqldb.DB) error { return db.Migrate(ctx, migrations) }
