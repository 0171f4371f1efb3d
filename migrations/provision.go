package migrations

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ProvisionOptions are the passwords under which the service will connect. An
// empty one leaves that role as it is. Others are 1 to 128 printable ASCII
// characters.
type ProvisionOptions struct {
	AppPassword  string // of tars_app
	JobsPassword string // of tars_jobs
}

// Provision lets the service's two roles log in to the database that
// databaseURL names: it sets their passwords and grants them CONNECT. It needs
// a role that may change both, and runs after [Up]. It may be repeated; a new
// password holds for connections made from then on.
//
// The passwords do not reach the server, and so not its log: what is sent is
// the SCRAM-SHA-256 verifier.
func Provision(ctx context.Context, databaseURL string, options ProvisionOptions) error {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("connect to provision: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, r := range []struct{ role, password string }{
			{"tars_app", options.AppPassword},
			{"tars_jobs", options.JobsPassword},
		} {
			if err := provision(ctx, tx.Conn(), r.role, r.password); err != nil {
				return fmt.Errorf("provision %s: %w", r.role, err)
			}
		}
		return nil
	})
}

func provision(ctx context.Context, conn *pgx.Conn, role, password string) error {
	grant := "GRANT CONNECT ON DATABASE " + pgx.Identifier{conn.Config().Database}.Sanitize() + " TO " + role
	if _, err := conn.Exec(ctx, grant); err != nil {
		return err
	}
	if password == "" {
		return nil
	}
	salt := make([]byte, 16)
	rand.Read(salt) // never fails
	verifier, err := scramVerifier(password, salt)
	if err != nil {
		return err
	}
	// A utility statement takes no parameters. The verifier is base64 and "$:".
	_, err = conn.Exec(ctx, "ALTER ROLE "+role+" LOGIN PASSWORD '"+verifier+"'")
	return err
}

// scramIterations is PostgreSQL's default for scram_iterations.
const scramIterations = 4096

// scramVerifier is what PostgreSQL keeps of a password, RFC 5803. Only ASCII is
// taken, for which the normalisation that SCRAM asks for changes nothing.
func scramVerifier(password string, salt []byte) (string, error) {
	if len(password) > 128 {
		return "", errors.New("password is over 128 characters")
	}
	for _, c := range []byte(password) {
		if c < 0x20 || c > 0x7e {
			return "", errors.New("password has a character that is not printable ASCII")
		}
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", err
	}
	mac := func(text string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(mac("Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s",
		scramIterations, b64(salt), b64(stored[:]), b64(mac("Server Key"))), nil
}
