package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthCommand asks a running server whether it is ready, for the health checks
// of images that hold nothing but this binary.
type healthCommand struct {
	Listen  string        `env:"TARS_LISTEN" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the server listens; an address for all interfaces is asked by loopback."`
	URL     string        `name:"url" placeholder:"URL" help:"Ask this instead."`
	Timeout time.Duration `default:"3s" help:"How long the answer may take."`
}

func (c *healthCommand) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	target := c.URL
	if target == "" {
		var err error
		if target, err = readyURL(c.Listen); err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
	}
	return askReady(ctx, target)
}

// readyURL is where the server that listens at address tells of its readiness.
func readyURL(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port) + "/readyz", nil
}

// askReady fails unless the answer's status is 200; the error tells what was
// answered.
func askReady(ctx context.Context, target string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	const enough = 2 << 10 // an engine keeps 4 KiB of it
	body, err := io.ReadAll(io.LimitReader(response.Body, enough))
	if err != nil {
		return fmt.Errorf("%s: %w", target, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", target, response.Status, strings.TrimSpace(string(body)))
	}
	return nil
}
