package admin

import (
	"context"
	"net/http"
)

// List describes what the running server offers.
func (c *Client) List(ctx context.Context) ([]Description, error) {
	var list []Description
	err := c.exchange(ctx, request{method: http.MethodGet, path: prefix}, &list)
	return list, err
}
