package main

import "os"

// environ is the process environment; tests replace it.
var environ = os.Environ
