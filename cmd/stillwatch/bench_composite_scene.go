package main

import (
	"math"
	"math/rand/v2"
)

// Size of the benchmark's pictures, in pixels.
const (
	sceneWidth  = 1280
	sceneHeight = 720
)

// scene draws a person before a wall, as a camera sees them: a still
// background with detail at every scale, a head that moves, sensor noise. It
// is a pure function of the seed and the frame's number, so that what was
// encoded can be drawn again to compare with.
type scene struct {
	seed       uint64
	wall, face plane
	noise      []int8
}

// plane is an I420 picture.
type plane struct {
	w, h         int
	all, y, u, v []byte
}

func newPlane(w, h int) plane {
	all, luma, quarter := make([]byte, w*h*3/2), w*h, w*h/4
	return plane{w: w, h: h, all: all, y: all[:luma], u: all[luma : luma+quarter], v: all[luma+quarter:]}
}

const (
	faceWidth  = 420
	faceHeight = 600
)

func newScene(seed uint64) *scene {
	s := &scene{seed: seed, wall: newPlane(sceneWidth, sceneHeight), face: newPlane(faceWidth, faceHeight)}
	r := rand.New(rand.NewPCG(seed, 1))
	fractal(r, s.wall.y, sceneWidth, sceneHeight, 90+float64(r.IntN(60)), 110, 1)
	fractal(r, s.wall.u, sceneWidth/2, sceneHeight/2, 100+float64(r.IntN(56)), 30, 4)
	fractal(r, s.wall.v, sceneWidth/2, sceneHeight/2, 100+float64(r.IntN(56)), 30, 4)
	fractal(r, s.face.y, faceWidth, faceHeight, 120+float64(r.IntN(50)), 120, 1)
	fractal(r, s.face.u, faceWidth/2, faceHeight/2, 110, 20, 4)
	fractal(r, s.face.v, faceWidth/2, faceHeight/2, 150, 20, 4)
	s.noise = make([]int8, 1<<20)
	for i := range s.noise {
		s.noise[i] = int8(math.Round(r.NormFloat64() * 1.2))
	}
	return s
}

// fractal fills dst with value noise of many octaves down to cells of finest
// pixels, whose strength falls with the frequency as in the soft pictures of webcams.
func fractal(r *rand.Rand, dst []byte, w, h int, mean, spread float64, finest int) {
	sum := make([]float64, w*h)
	weight := 0.0
	for cell := 512; cell >= finest; cell /= 2 {
		gw, gh := w/cell+2, h/cell+2
		grid := make([]float64, gw*gh)
		for i := range grid {
			grid[i] = r.Float64() - 0.5
		}
		amp := math.Pow(float64(cell), 0.75)
		weight += amp
		for y := range h {
			gy, fy := y/cell, smooth(float64(y%cell)/float64(cell))
			for x := range w {
				gx, fx := x/cell, smooth(float64(x%cell)/float64(cell))
				a, b := grid[gy*gw+gx], grid[gy*gw+gx+1]
				c, d := grid[(gy+1)*gw+gx], grid[(gy+1)*gw+gx+1]
				top, bottom := a+(b-a)*fx, c+(d-c)*fx
				sum[y*w+x] += amp * (top + (bottom-top)*fy)
			}
		}
	}
	for i, v := range sum {
		dst[i] = byte(min(max(mean+2*spread*v/weight, 16), 235))
	}
}

func smooth(f float64) float64 { return f * f * (3 - 2*f) }

// draw writes frame n at 25 frames a second.
func (s *scene) draw(n int, dst plane) {
	copy(dst.y, s.wall.y)
	copy(dst.u, s.wall.u)
	copy(dst.v, s.wall.v)
	t := float64(n)/25 + float64(s.seed)*3.7
	cx := 640 + 150*math.Sin(t*0.9) + 25*math.Sin(t*3.1)
	cy := 400 + 40*math.Sin(t*1.3+1)
	size := 1 + 0.08*math.Sin(t*0.7)
	s.paste(dst.y, s.face.y, sceneWidth, sceneHeight, faceWidth, faceHeight, cx, cy, size)
	s.paste(dst.u, s.face.u, sceneWidth/2, sceneHeight/2, faceWidth/2, faceHeight/2, cx/2, cy/2, size)
	s.paste(dst.v, s.face.v, sceneWidth/2, sceneHeight/2, faceWidth/2, faceHeight/2, cx/2, cy/2, size)
	at := int(uint64(n)*2654435761+s.seed*97) & (len(s.noise) - 1)
	for i, v := range dst.y {
		dst.y[i] = byte(min(max(int(v)+int(s.noise[(at+i)&(len(s.noise)-1)]), 16), 235))
	}
}

// paste draws the ellipse of a face around (cx, cy), sampled between pixels,
// so that it moves smoothly.
func (s *scene) paste(dst, src []byte, w, h, fw, fh int, cx, cy, size float64) {
	rx, ry := float64(fw)/2*size*0.98, float64(fh)/2*size*0.98
	for y := max(int(cy-ry), 0); y < min(int(cy+ry), h); y++ {
		dy := (float64(y) - cy) / ry
		half := rx * math.Sqrt(max(1-dy*dy, 0))
		sy := (float64(y)-cy)/size + float64(fh)/2
		iy := min(max(int(sy), 0), fh-2)
		fy := int((sy - float64(iy)) * 256)
		for x := max(int(cx-half), 0); x < min(int(cx+half), w); x++ {
			sx := (float64(x)-cx)/size + float64(fw)/2
			ix := min(max(int(sx), 0), fw-2)
			fx := int((sx - float64(ix)) * 256)
			at := iy*fw + ix
			top := int(src[at])*(256-fx) + int(src[at+1])*fx
			bottom := int(src[at+fw])*(256-fx) + int(src[at+fw+1])*fx
			dst[y*w+x] = byte((top*(256-fy) + bottom*fy) >> 16)
		}
	}
}
