package models_test

import (
	"fmt"
	"sync"
	"testing"

	"stillwatch/models"
)

func TestTensorCacheKeepsTheNewest(t *testing.T) {
	t.Parallel()
	c := models.NewTensorCache(100)
	for i := range 5 {
		c.Put(fmt.Sprint(i), 8, make([]byte, 40))
	}
	for i, want := range []bool{false, false, false, true, true} {
		if _, ok := c.Get(fmt.Sprint(i), 8); ok != want {
			t.Errorf("frame %d is there: %t, want %t", i, ok, want)
		}
	}
	want := models.CacheStats{Entries: 2, Bytes: 80, Hits: 2, Misses: 3, Evicted: 3}
	if got := c.Stats(); got != want {
		t.Errorf("stats %+v, want %+v", got, want)
	}
}

func TestTensorCacheTakesAndReplaces(t *testing.T) {
	t.Parallel()
	c := models.NewTensorCache(100)
	c.Put("a", 8, []byte{1})
	c.Put("a", 9, []byte{2, 2})
	c.Put("a", 8, []byte{3, 3, 3})
	c.Put("huge", 8, make([]byte, 101))
	if rgb, ok := c.Take("a", 8); !ok || len(rgb) != 3 || rgb[0] != 3 {
		t.Errorf("took %v %t, want the newer picture", rgb, ok)
	}
	if _, ok := c.Take("a", 8); ok {
		t.Error("a taken picture is still there")
	}
	if _, ok := c.Get("huge", 8); ok {
		t.Error("a picture larger than the cache is kept")
	}
	if s := c.Stats(); s.Entries != 1 || s.Bytes != 2 {
		t.Errorf("stats %+v, want the one of size 9", s)
	}
}

func TestTensorCacheStaysBoundedUnderConcurrentUse(t *testing.T) {
	t.Parallel()
	c := models.NewTensorCache(1000)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 500 {
				id := fmt.Sprint(g, i%50)
				c.Put(id, 8, make([]byte, 1+i%200))
				c.Get(id, 8)
				c.Take(fmt.Sprint((g+1)%4, i%50), 8)
				if s := c.Stats(); s.Bytes > 1000 || s.Bytes < 0 || s.Entries < 0 {
					t.Errorf("out of bounds: %+v", s)
					return
				}
			}
		})
	}
	all.Wait()
}
