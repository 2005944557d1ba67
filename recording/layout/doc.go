// Package layout decides who is where in the movie of a call, and when.
//
// It is pure: from a Scene (who was there, when their cameras and screens sent
// pictures, when they spoke) and a Layout it makes a list of intervals that
// cover the call without gap or overlap; an interval ends where the
// arrangement changes.
//
//	turns, presence, spells ──► Moment ──► Layout.Arrange ──► tiles ──► Interval
//
// # Adding a layout
//
// A layout is a type with two methods. Name is what settings call it. Arrange
// gets one Moment and answers with the tiles of that moment; it is asked for
// each state of the call, in any order, and has to answer the same to the same
// Moment. The rest — when something changed, snapping to whole frames, leaving
// out flicker — is done for it.
//
// What Arrange has to keep to, and Check tells:
//
//   - tiles lie inside the canvas and do not overlap;
//   - their coordinates and sizes are even, because the movie is 4:2:0 (use
//     Cells or Split, which take care of it);
//   - a tile's Person is Present.Person, its TrackID that person's Camera or
//     Screen, or "" for a card with the name.
//
// The example of Register adds one from end to end. Register it in an init
// function or first thing in main, and settings can name it.
package layout
