package archive

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"os"

	"stillwatch/internal/blob"
)

// DefaultPartSize is how large the parts of a large object are, in bytes: what
// a crash costs at most to send again.
const DefaultPartSize = 16 << 20

// parted are Objects of which some can be uploaded in parts.
type parted interface {
	Parts(ctx context.Context, ref string) (*blob.Parts, error)
}

// inParts returns how to upload a file in parts, or nil where that is not
// possible, or not worth it. What is encrypted is different each time, and so
// begins anew.
func (s *Store) inParts(ctx context.Context, f File, info os.FileInfo, ref string) (*blob.Parts, error) {
	objects, ok := s.cfg.Objects.(parted)
	if !ok || f.EncryptTo != "" || info.Size() < 2*s.cfg.PartSize {
		return nil, nil
	}
	return objects.Parts(ctx, ref)
}

// sendParts uploads a file in parts, without those that are there already. id
// is the file's in the journal.
func (s *Store) sendParts(ctx context.Context, to *blob.Parts, id string, f File, file *os.File, info os.FileInfo, sums *sums) error {
	upload, there, err := s.resume(ctx, to, id, f)
	if err != nil {
		return err
	}
	size := max(s.cfg.PartSize, (info.Size()+blob.MaxParts-1)/blob.MaxParts)
	buf := make([]byte, min(size, info.Size()))
	from := &reading{file, sums}
	var parts []blob.Part
	for n := 1; ; n++ {
		got, err := io.ReadFull(from, buf)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		sum := md5.Sum(buf[:got])
		part := blob.Part{N: n, Size: int64(got), MD5: hex.EncodeToString(sum[:])}
		if old, ok := there[n]; ok && old == part {
			parts = append(parts, old)
			continue
		}
		if part, err = to.Put(ctx, upload, n, buf[:got]); err != nil {
			return err
		}
		parts = append(parts, part)
	}
	return to.Finish(ctx, upload, parts)
}

// resume finds the upload that the journal knows, with its parts, or begins
// one.
func (s *Store) resume(ctx context.Context, to *blob.Parts, id string, f File) (upload string, there map[int]blob.Part, err error) {
	there = map[int]blob.Part{}
	if upload = s.journal.uploads[id]; upload != "" {
		parts, err := to.List(ctx, upload)
		for _, p := range parts {
			there[p.N] = p
		}
		if !errors.Is(err, blob.ErrNoUpload) {
			return upload, there, err
		}
	}
	if upload, err = to.Begin(ctx, f.ContentType); err != nil {
		return "", nil, err
	}
	if err := s.journal.note(line{Uploading: id, Upload: upload}); err != nil {
		return "", nil, &local{err}
	}
	return upload, there, nil
}
