// Command core is libweft: the mesh in the process of a function that isn't written in Go, as a shared library with a C
// interface (weft.h).
//
//	CGO_ENABLED=1 go build -buildmode=c-shared -o bin/libweft.so ./sdk/core
package main

func main() {} // a library has none
