//go:build cgo && linux

package picture

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"stillwatch/capture/still"
)

const (
	// parkAfter is how many workers a keyframe may kill.
	parkAfter = 2
	// maxSuspects bounds what is remembered; the oldest are forgotten.
	maxSuspects = 4096
	// maxParkedFiles bounds the folder.
	maxParkedFiles = 64
)

// parking remembers keyframes that killed workers, and refuses those that
// killed two.
type parking struct {
	folder string
	log    *slog.Logger
	seed   maphash.Seed

	mu     sync.Mutex
	kills  map[uint64]int
	order  []uint64 // oldest first
	parked uint64
}

func newParking(folder string, log *slog.Logger) *parking {
	return &parking{folder: folder, log: log, seed: maphash.MakeSeed(), kills: make(map[uint64]int)}
}

func (k *parking) count() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.parked
}

// refuses costs nothing while there are no suspects.
func (k *parking) refuses(keyframe []byte) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.kills) > 0 && k.kills[maphash.Bytes(k.seed, keyframe)] >= parkAfter
}

// suspect records that the keyframe's worker was lost.
func (k *parking) suspect(req still.Request) {
	hash := maphash.Bytes(k.seed, req.Keyframe)
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.kills[hash]; !known {
		if len(k.order) == maxSuspects {
			delete(k.kills, k.order[0])
			k.order = k.order[1:]
		}
		k.order = append(k.order, hash)
	}
	k.kills[hash]++
	if k.kills[hash] == parkAfter {
		k.parked++
		k.write(req)
	}
}

// write puts the bytes aside for study, while there is room.
func (k *parking) write(req still.Request) {
	sum := sha256.Sum256(req.Keyframe)
	name := hex.EncodeToString(sum[:]) + "." + string(req.Codec)
	k.log.Error("keyframe parked", "codec", req.Codec, "bytes", len(req.Keyframe), "sha256", name[:64])
	if k.folder == "" {
		return
	}
	err := os.MkdirAll(k.folder, 0o700)
	if err == nil {
		var there []os.DirEntry
		if there, err = os.ReadDir(k.folder); err == nil && len(there) < maxParkedFiles {
			err = os.WriteFile(filepath.Join(k.folder, name), req.Keyframe, 0o600)
		}
	}
	if err != nil {
		k.log.Error("parked keyframe not kept", "err", err)
	}
}
