package still

import "math/bits"

// Distance is the number of bits in which two perceptual hashes differ: 0 for
// the same picture, about 32 for unrelated ones. Up to 4 is commonly the same
// picture coded again.
func Distance(a, b uint64) int { return bits.OnesCount64(a ^ b) }
