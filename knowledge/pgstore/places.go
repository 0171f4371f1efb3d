package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/tars-project/tars/knowledge"
	"github.com/tars-project/tars/knowledge/pgtx"
)

const makePlaceSQL = `SELECT tars.make_own_place(@most_places)`

// makePlace makes a place of its own for a collection, without an index yet.
// Attaching it takes a lock that stands back behind queries; the timeout of the
// jobs role bounds the wait.
func (s *Store) makePlace(ctx context.Context) (int32, error) {
	var place int32
	err := s.jobs.QueryRow(ctx, makePlaceSQL, pgx.NamedArgs{"most_places": s.options.MaxPlaces}).Scan(&place)
	if pgtx.Code(err) == pgerrcode.ConfigurationLimitExceeded {
		return 0, knowledge.Limit("this server has as many collections with an index as it may")
	}
	if err != nil {
		return 0, fmt.Errorf("make a place: %w", pgtx.Kind(ctx, err))
	}
	return place, nil
}

// Dropping a place needs every query on records to pause for a moment. It is
// tried a few times; what remains is left to SweepPlaces.
const (
	dropAttempts = 5
	dropPatience = 3 * time.Second
)

// discardPlace drops a place that no collection refers to, even when ctx has
// ended. It is no error when that cannot be had now: nothing finds the place
// any more, and SweepPlaces will.
func (s *Store) discardPlace(ctx context.Context, place int32) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropPatience)
	defer cancel()
	for attempt := 1; attempt <= dropAttempts; attempt++ {
		if _, err := s.dropPlace(ctx, place); err == nil {
			return
		}
		if pgtx.Pause(ctx, time.Duration(attempt)*50*time.Millisecond) != nil {
			return
		}
	}
}

const dropPlaceSQL = `SELECT tars.drop_place(@place)`

// dropPlace drops a place unless a collection refers to it, and reports
// whether it did.
func (s *Store) dropPlace(ctx context.Context, place int32) (dropped bool, err error) {
	err = s.jobs.QueryRow(ctx, dropPlaceSQL, pgx.NamedArgs{"place": place}).Scan(&dropped)
	return dropped, pgtx.Kind(ctx, err)
}

const unusedPlacesSQL = `SELECT * FROM tars.unused_places(@age::interval)`

// SweepPlaces drops the places that were left behind, by a process that ended
// between making a place and its collection or by a lock that could not be
// had, and returns how many it dropped. A place younger than age is left alone:
// its collection may be about to come. A place whose lock cannot be had now is
// named in the error, and the others are dropped all the same.
func (s *Store) SweepPlaces(ctx context.Context, age time.Duration) (int, error) {
	rows, err := s.jobs.Query(ctx, unusedPlacesSQL, pgx.NamedArgs{"age": age})
	if err != nil {
		return 0, fmt.Errorf("find unused places: %w", pgtx.Kind(ctx, err))
	}
	places, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return 0, fmt.Errorf("find unused places: %w", pgtx.Kind(ctx, err))
	}
	n := 0
	var failed []error
	for _, place := range places {
		dropped, err := s.dropPlace(ctx, place)
		if err != nil {
			failed = append(failed, fmt.Errorf("drop place %d: %w", place, err))
		}
		if dropped {
			n++
		}
	}
	return n, errors.Join(failed...)
}
