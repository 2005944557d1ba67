// Package telemetry sets up the program's log and its metrics.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewLogger makes a logger. Level is debug, info, warn or error; format is
// text or json.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	default:
		return nil, fmt.Errorf("log format %q: want text or json", format)
	}
}

// NewRegistry makes a metrics registry that already knows the Go runtime and
// the process.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Counter registers a counter that reads its value from f when scraped.
func Counter(r prometheus.Registerer, name, help string, labels prometheus.Labels, f func() float64) {
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "stillwatch", Name: name, Help: help, ConstLabels: labels,
	}, f))
}

// Histogram registers a histogram with the upper bounds of its buckets, and
// returns what takes a value.
func Histogram(r prometheus.Registerer, name, help string, buckets []float64) func(float64) {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "stillwatch", Name: name, Help: help, Buckets: buckets})
	r.MustRegister(h)
	return h.Observe
}

// Gauge registers a gauge that reads its value from f when scraped.
func Gauge(r prometheus.Registerer, name, help string, labels prometheus.Labels, f func() float64) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "stillwatch", Name: name, Help: help, ConstLabels: labels,
	}, f))
}
