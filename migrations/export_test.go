package migrations

// Provision works on roles that all tests share. These are its parts that do not.
var (
	ScramVerifier = scramVerifier
	ProvisionRole = provision
)
