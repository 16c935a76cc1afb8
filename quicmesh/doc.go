// Package quicmesh is the data plane: it carries events from slot to slot over ordered, flow-controlled
// links. A Mesh is one slot's end of all its links. It decides in pure rooms (route, flow, replay,
// barrier) and moves bytes through a seam (transport), so that it knows nothing of QUIC, OpenWhisk or
// the spec.
//
// # A link's life
//
// A link is one edge between two slots, each in one incarnation. Its sender dials. The first frame is
// Hello, which names the edge and both ends; the receiver compares it with who the transport says the
// peer is, and answers Bye with a reason, or, once its owner has called Accept, Welcome. Readiness
// therefore runs from the sinks to the sources, however the slots were started: who dials a slot that
// does not exist yet waits for SetPeers, for the peer, and for its Accept, in this order.
//
//	        SetPeers            dial, Hello              Welcome
//	unknown ────────► dialling ────────────► waiting ──────────────► up
//	                     ▲                      │ Bye, lost           │ Bye, lost
//	                     └──── pause, 5–250 ms ─┴─────────────────────┘
//
//	Hello    {"version":1,"edge":3,"from":{"stage":"split","index":0,"incarnation":7},"to":{…}}
//	Welcome  {"window":1048576,"credit":1050000,"borrows":true,"held":[40,41]}, seq: the highest number received
//	Bye      a reason, text
//
// Welcome tells what the receiver has, so that a link that comes up again resumes: the sender resends
// what is behind that, the receiver drops what it has already. A new incarnation of either end is a new
// link: it begins at number 1, and frames kept for the old one are dropped. They are not lost, since a
// loss rolls the pipeline back once the successor is known; frames of an incarnation older than the
// newest known are refused, and so is for good an incarnation that has broken the rules: a gap in the
// numbers, more bytes than granted, an unknown type, an event after the end.
//
// # Three numbers that flow back
//
//	Ack      the receiver's process has all frames up to this number; the sender forgets them
//	Credit   bytes the sender may have sent since the link began; grows as events are released
//	attempt  in every frame: a lower one than the receiver's is counted, its credit returned, and dropped;
//	         a link that brings a higher one waits for the receiver's Rollback, which SetPeers precedes,
//	         so that every frame of an attempt goes to those who hold the slots in it
//
// Credit is per link (Config.Window), so that no link waits for another one's receiver, and bounds
// everything: what the sender keeps, what is in flight, what the inbox holds and what its reader has not
// released. An event larger than the window goes when nothing is in flight. Barriers, ends and what
// flows back need no credit. Ack and Credit wait at most 2 ms for more to go with them, in one write:
// at once after 512 frames or a quarter of the window.
//
// # Latency and batches
//
// No timer delays an event. A link's writer sleeps only when there is nothing to write; Send wakes it.
// While it writes, further events gather behind it in the buffers they are kept in, and go with the next
// write: batches form by themselves when the link is busy. One reading of the clock stamps up to 32
// frames. A reader cuts as many frames as a read has brought, and gives them to the inbox under one
// lock. An event is copied once at the sender, into the log; at the receiver an Item refers to the
// reader's buffer until its Release, and only a frame that a buffer's end has cut is copied. Nothing is
// allocated per event.
//
// # Payloads in place
//
// Alloc gives memory that receivers on the same host read where it was written (arena; FRAME.md, References). The log
// keeps the frame without its payload and holds that; only when the frame is written it is decided whether it brings
// the payload or refers to it, so that a link that moves to another carrier resends either. The receiver's Item has
// the sender's bytes, and its Release lets them go; a receiver of a new incarnation has let go of all. What isn't in
// such memory, is smaller than referFrom, or has no place in it any more is copied.
//
// # Goroutines
//
//	goroutine        number           ends with             does
//	acceptLoop       1                Close                 takes streams that peers open
//	linkLoop         incoming stream  its session           hello, then readLoop
//	inLink.ackLoop   incoming link    its session           writes Ack, Credit, Bye
//	dialLoop         outgoing link    Close                 dials, then writeLoop
//	outLink.readLoop outgoing link    its session           takes Ack, Credit, Bye
//	guestLoop        guest's stream   Guests.Serve, Close   speaks with a peer that holds no slot
//
// Close waits for all of them: a session writes its goodbye first, for a second at most.
//
// Locks, in the order in which they may be taken: Mesh.mu, inbox.mu, input.mu, outEdge.mu, inLink.mu,
// Mesh.links.mu; an arena's come last.
package quicmesh
