package archive

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	neturl "net/url"
	"os"

	"stillwatch/internal/blob"
	"stillwatch/internal/netguard"
	"stillwatch/internal/signature"
)

// The wire format of Push is one request,
//
//	POST <destination>
//	Content-Type: application/vnd.stillwatch.recording
//	Transfer-Encoding: chunked
//	Idempotency-Key: <id>
//	X-API-KEY: <key>
//	X-SIGNATURE: <lower-case hex HMAC-SHA256 of the whole body under the API secret>
//
// whose body is the eight bytes of pushMagic and then records of
//
//	kind   1 byte   what the record is, below
//	file   2 bytes  which file it belongs to, from 1; 0 is the whole
//	length 4 bytes  of the payload, at most 1 MiB
//	payload
//
// with all numbers big-endian. The kinds are
//
//	'M' file 0: JSON with what is known of the conference, once, first.
//	    file n: JSON with name, content_type, size, and what the sender adds
//	    as meta; before the file's bytes.
//	'D' bytes of file n, in order. Files come one after the other.
//	'E' file n: JSON with size and sha256 of its bytes, behind them.
//	    file 0: an empty JSON object; the stream is whole.
//
// Kinds that a receiver does not know are to be passed over. A stream without
// the last record was cut off: what came of it is to be dropped, and comes
// again with the same Idempotency-Key. Any 2xx answer says that the receiver
// has it all. 408, 425, 429 and 5xx mean later, any other status never.
const (
	pushMagic       = "SWREC\x00\x00\x01"
	pushContentType = "application/vnd.stillwatch.recording"
	pushMeta        = 'M'
	pushData        = 'D'
	pushEnd         = 'E'
	maxPushPayload  = 1 << 20
)

// maxPushFiles is how many files one Push takes.
const maxPushFiles = 1<<16 - 1

// PushFile is a file to push.
type PushFile struct {
	// Path on this machine. Or else Open reads the Size bytes of it from
	// elsewhere: what is encrypted goes as it is stored, so that the manifest's
	// hashes are of what arrives, and another try sends the same bytes.
	Path        string
	Open        func(ctx context.Context) (io.ReadCloser, error)
	Size        int64
	Name        string
	ContentType string
	// Meta goes with it as JSON; nil for none.
	Meta any
}

type pushFileMeta struct {
	Name        string `json:"name"`
	ContentType string `json:"content_type"`
	Size        int64  `json:"size"`
	Meta        any    `json:"meta,omitempty"`
}

type pushFileEnd struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Push sends files with what is known of their conference to an HTTP endpoint,
// once, as a stream in the format above. The id is the same each time the same
// is sent. The client should be netguard's: it decides what may be reached. It
// returns ErrStoreDown, an *Error, or the context's error.
//
// The signature stands in the header, before the body, so all is read twice.
func Push(ctx context.Context, client *http.Client, signer signature.Signer, url, id string, conference any, files []PushFile) error {
	if len(files) > maxPushFiles {
		return &Error{Ours, "too many files to push", fmt.Errorf("%d files", len(files))}
	}
	mac := signature.New(signer.Secret)
	err := writePush(ctx, writerFunc(func(b []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return mac.Write(b)
	}), conference, files)
	if err != nil {
		return classify(ctx, err)
	}
	pr, pw := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := writePush(ctx, pw, conference, files)
		pw.CloseWithError(err)
		written <- err
	}()
	status, err := post(ctx, client, url, id, pr, func(h http.Header) { signer.Header(h, signature.Text(mac)) })
	_ = pr.CloseWithError(errAnswered) // ends the writer, if the answer came before the end
	sent := <-written
	switch {
	case sent != nil && !errors.Is(sent, errAnswered) && ctx.Err() == nil && isLocal(sent):
		return classify(ctx, sent)
	case err != nil:
		return pushFailed(ctx, err)
	case blob.PermanentStatus(status):
		return &Error{Destinations, fmt.Sprintf("it answered %d", status), fmt.Errorf("push %s: status %d", id, status)}
	case status < 200 || status > 299:
		return fmt.Errorf("%w: push %s: it answered %d", ErrStoreDown, id, status)
	case sent != nil:
		return fmt.Errorf("%w: push %s: it answered %d before it had all", ErrStoreDown, id, status)
	}
	return nil
}

// writerFunc is a Writer by its only method.
type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var errAnswered = errors.New("the answer came before the end")

func isLocal(err error) bool {
	var l *local
	return errors.As(err, &l)
}

func pushFailed(ctx context.Context, err error) error {
	var refused *netguard.RefusedError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &refused):
		return &Error{Destinations, refused.Error(), err}
	}
	return fmt.Errorf("%w: push: %w", ErrStoreDown, err)
}

func post(ctx context.Context, client *http.Client, url, id string, body io.Reader, sign func(http.Header)) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return 0, &Error{Destinations, "the destination is no URL", errors.New("push: bad URL")} // err would quote it
	}
	req.Header.Set("Content-Type", pushContentType)
	req.Header.Set("Idempotency-Key", id)
	sign(req.Header)
	res, err := client.Do(req)
	if err != nil {
		var quoted *neturl.Error
		if errors.As(err, &quoted) {
			err = quoted.Err // without the URL, which may hold a secret
		}
		return 0, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	return res.StatusCode, nil
}

func writePush(ctx context.Context, w io.Writer, conference any, files []PushFile) error {
	if _, err := io.WriteString(w, pushMagic); err != nil {
		return err
	}
	if err := pushJSON(w, pushMeta, 0, conference); err != nil {
		return err
	}
	for i, f := range files {
		if err := pushFile(ctx, w, uint16(i+1), f); err != nil {
			return err
		}
	}
	return pushJSON(w, pushEnd, 0, struct{}{})
}

// open reads the file, and tells its size.
func (f PushFile) open(ctx context.Context) (io.ReadCloser, int64, error) {
	if f.Open != nil {
		r, err := f.Open(ctx)
		return r, f.Size, err
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, 0, &local{err}
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, &local{errors.Join(err, file.Close())}
	}
	return file, info.Size(), nil
}

func pushFile(ctx context.Context, w io.Writer, n uint16, f PushFile) error {
	file, size, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := pushJSON(w, pushMeta, n, pushFileMeta{f.Name, or(f.ContentType, "application/octet-stream"), size, f.Meta}); err != nil {
		return err
	}
	sums := newSums()
	from := io.Reader(io.TeeReader(file, sums))
	if f.Open == nil {
		from = &reading{file, sums} // whose errors are this machine's
	}
	for buf := make([]byte, 256<<10); ; {
		read, err := io.ReadFull(from, buf)
		if read > 0 {
			if err := pushRecord(w, pushData, n, buf[:read]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if sums.size != size {
		err := fmt.Errorf("push %s: it changed from %d to %d bytes on its way", f.Name, size, sums.size)
		if f.Open != nil {
			return err // perhaps the store broke off
		}
		return &local{err}
	}
	return pushJSON(w, pushEnd, n, pushFileEnd{sums.size, hex.EncodeToString(sums.sha256.Sum(nil))})
}

func pushJSON(w io.Writer, kind byte, n uint16, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return &local{fmt.Errorf("push: %w", err)}
	}
	return pushRecord(w, kind, n, text)
}

func pushRecord(w io.Writer, kind byte, n uint16, payload []byte) error {
	if len(payload) > maxPushPayload {
		return &local{fmt.Errorf("push: a record of %d bytes", len(payload))}
	}
	head := [7]byte{0: kind}
	binary.BigEndian.PutUint16(head[1:], n)
	binary.BigEndian.PutUint32(head[3:], uint32(len(payload)))
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}
