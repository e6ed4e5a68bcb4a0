package main

import (
	"maps"
	"slices"

	"forge.lthn.ai/core/go-ws/backplane"
	"forge.lthn.ai/core/go-ws/hub"
)

// backplanes are what -backplane can name. A gateway with the memory backplane
// is alone; it behaves like one that is joined with others.
var backplanes = map[string]func(settings) (hub.Backplane, error){
	"memory": func(settings) (hub.Backplane, error) {
		return backplane.NewMemory(backplane.MemoryConfig{}).Join(), nil
	},
}

func backplaneNames() []string { return slices.Sorted(maps.Keys(backplanes)) }
