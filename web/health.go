package web

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// checkTimeout bounds each check of /readyz.
const checkTimeout = 2 * time.Second

// healthz says that the program runs.
func (s *Server) healthz(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
}

// readyz says whether every part works: 200, or 503 with "failed" at those
// that do not. Why is in the log, since anyone may ask.
func (s *Server) readyz(c echo.Context) error {
	checks := map[string]func(context.Context) error{"database": s.cfg.DB.PingContext}
	for name, check := range s.cfg.Checks {
		checks[name] = check
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), checkTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	result, status := map[string]string{}, http.StatusOK
	for name, check := range checks {
		wg.Go(func() {
			err := check(ctx)
			mu.Lock()
			defer mu.Unlock()
			result[name] = "ok"
			if err != nil {
				s.log.Warn("not ready", "check", name, "error", err)
				result[name], status = "failed", http.StatusServiceUnavailable
			}
		})
	}
	wg.Wait()
	return c.JSON(status, result)
}
