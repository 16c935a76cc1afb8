package main

import (
	"regexp"
	"strconv"
)

// The common log format: host ident user [time] "method path protocol" status bytes.
var common = regexp.MustCompile(`^(\S+) \S+ (\S+) \[([^\]]+)\] "(\S+) (\S+) [^"]*" (\d{3}) (\d+|-)$`)

// Main takes a line of a web server's log apart.
func Main(args map[string]interface{}) map[string]interface{} {
	line, _ := args["line"].(string)
	m := common.FindStringSubmatch(line)
	if m == nil {
		return map[string]interface{}{"error": "no line of the common log format: " + line}
	}
	status, _ := strconv.Atoi(m[6])
	size, _ := strconv.Atoi(m[7])
	return map[string]interface{}{"user": m[2], "time": m[3], "method": m[4], "path": m[5], "status": status, "bytes": size}
}
