// A module of its own: parse.go is an action, which has no func main, and so no program that go build ./... can make.
module polyglot

go 1.24
