package pgtest

import (
	"context"
	"errors"
	"os"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"

	"github.com/tars-project/tars/migrations/pglocal"
)

// startContainer runs a server in a container and returns its superuser's URL.
// Its removal is left to a watchdog of ours, as for the private cluster, since
// the reaper of testcontainers is one more image that may not be there.
func startContainer(ctx context.Context) (string, error) {
	if err := os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true"); err != nil {
		return "", err
	}
	c, err := postgres.Run(ctx, pglocal.DefaultImage,
		postgres.WithDatabase("postgres"), postgres.WithUsername("postgres"),
		postgres.BasicWaitStrategies(),
		testcontainers.WithTmpfs(map[string]string{"/var/lib/postgresql/data": ""}),
		testcontainers.WithCmd("postgres", "-c", "fsync=off", "-c", "full_page_writes=off",
			"-c", "synchronous_commit=off", "-c", "max_connections=200", "-c", "jit=off"),
	)
	if err != nil {
		return "", errors.Join(err, testcontainers.TerminateContainer(c))
	}
	if err := pglocal.RemoveContainerAfterUs(c.GetContainerID()); err != nil {
		return "", errors.Join(err, testcontainers.TerminateContainer(c))
	}
	return c.ConnectionString(ctx, "sslmode=disable")
}
