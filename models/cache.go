package models

import (
	"container/list"
	"sync"
)

// TensorCache keeps the newest frames' pictures for the classifier of the
// same process, so that events need carry no pixels. It holds at most a
// number of bytes and lets the oldest go first. It is safe for concurrent
// use.
type TensorCache struct {
	limit int

	mu    sync.Mutex // guards the fields below
	order *list.List // of *cachedTensor, oldest first
	byKey map[tensorKey]*list.Element
	stats CacheStats
}

// CacheStats counts what a TensorCache did.
type CacheStats struct {
	// Entries and Bytes are held now.
	Entries, Bytes int
	// Hits and Misses count look-ups, Evicted entries that made room.
	Hits, Misses, Evicted uint64
}

type tensorKey struct {
	frame string
	size  int
}

type cachedTensor struct {
	key tensorKey
	rgb []byte
}

// NewTensorCache makes a cache of at most limit bytes of pixels. One frame at
// 224 and 299 pixels takes 419 kB.
func NewTensorCache(limit int) *TensorCache {
	return &TensorCache{limit: limit, order: list.New(), byKey: map[tensorKey]*list.Element{}}
}

// Put keeps a frame's picture of one size. The cache owns rgb from now on:
// nobody may change it. A picture larger than the whole cache is not kept.
func (c *TensorCache) Put(frameID string, size int, rgb []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := tensorKey{frameID, size}
	if e := c.byKey[key]; e != nil {
		c.remove(e)
	}
	if len(rgb) > c.limit {
		return
	}
	for c.stats.Bytes+len(rgb) > c.limit {
		c.remove(c.order.Front())
		c.stats.Evicted++
	}
	c.byKey[key] = c.order.PushBack(&cachedTensor{key: key, rgb: rgb})
	c.stats.Bytes += len(rgb)
	c.stats.Entries++
}

// Get gives a frame's picture of one size. It stays in the cache: do not
// change it.
func (c *TensorCache) Get(frameID string, size int) (rgb []byte, ok bool) {
	return c.find(frameID, size, false)
}

// Take gives a frame's picture of one size and lets it go from the cache.
func (c *TensorCache) Take(frameID string, size int) (rgb []byte, ok bool) {
	return c.find(frameID, size, true)
}

// Stats gives the counts.
func (c *TensorCache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

func (c *TensorCache) find(frameID string, size int, take bool) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[tensorKey{frameID, size}]
	if e == nil {
		c.stats.Misses++
		return nil, false
	}
	c.stats.Hits++
	if take {
		c.remove(e)
	}
	return e.Value.(*cachedTensor).rgb, true
}

func (c *TensorCache) remove(e *list.Element) {
	t := e.Value.(*cachedTensor)
	c.order.Remove(e)
	delete(c.byKey, t.key)
	c.stats.Bytes -= len(t.rgb)
	c.stats.Entries--
}
