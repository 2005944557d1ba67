//go:build cgo && linux

package picture

// #cgo pkg-config: libavcodec libavutil libturbojpeg
// #cgo CFLAGS: -O3 -Wall -Wextra
// #cgo LDFLAGS: -lyuv -lm
import "C"
