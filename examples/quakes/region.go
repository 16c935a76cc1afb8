// Sums up the earthquakes of each region. The edge to it is keyed by region, so that one replica sees
// all of a region.
package main

import (
	"context"
	"math"

	weft "github.com/weft-stream/weft/sdk/go"
)

type Quake struct {
	Region    string  `json:"region"`
	Magnitude float64 `json:"magnitude"`
	Lon       float64 `json:"lon"`
	Lat       float64 `json:"lat"`
}

// Region is the sum: the place is that of the strongest quake, the energy in gigajoules.
type Region struct {
	Region    string     `json:"region"`
	Quakes    int        `json:"quakes"`
	Strongest float64    `json:"strongest"`
	Energy    float64    `json:"energy"`
	At        [2]float64 `json:"at"`
}

type regions map[string]*Region

func (r regions) Event(_ context.Context, q Quake) error {
	sum := r[q.Region]
	if sum == nil {
		sum = &Region{Region: q.Region, Strongest: math.Inf(-1)}
		r[q.Region] = sum
	}
	sum.Quakes++
	sum.Energy += math.Pow(10, 1.5*q.Magnitude+4.8) / 1e9 // Gutenberg and Richter
	if q.Magnitude > sum.Strongest {
		sum.Strongest, sum.At = q.Magnitude, [2]float64{q.Lon, q.Lat}
	}
	return nil
}

func (r regions) End(_ context.Context, emit func(Region)) error {
	for _, sum := range r {
		sum.Energy = math.Round(sum.Energy*1000) / 1000
		emit(*sum)
	}
	return nil
}

func main() {
	weft.Reduce(func() regions { return regions{} })
}
