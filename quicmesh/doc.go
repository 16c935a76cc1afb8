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
//	Hello    {"version":2,"edge":3,"from":{"stage":"split","index":0,"incarnation":7},"to":{…},"life":2}
//	Welcome  {"window":1048576,"credit":1050000,"taken":2000,"done":16,"borrows":true,"held":[40,41]},
//	         seq: the highest number received
//	Bye      a reason, text
//
// Welcome tells what the receiver has, so that a link that comes up again resumes: the sender resends
// what is behind that, the receiver drops what it has already. It counts anew from there, too: what it has
// sent is what the receiver has taken and what is behind. A new incarnation of either end is a new
// link: it begins at number 1, and frames kept for the old one are dropped. They are not lost, since a
// loss rolls the pipeline back once the successor is known; frames of an incarnation older than the
// newest known are refused, and so is for good an incarnation that has broken the rules: a gap in the
// numbers, more bytes than granted, an unknown type, an event after the end.
//
// # Three numbers that flow back
//
//	Ack      the receiver needs no frame up to this number again; the sender forgets them
//	Credit   bytes the sender may have sent since the link began; grows as events are released
//	attempt  in every frame: a lower one than the receiver's is counted, its credit returned, and dropped;
//	         a link that brings a higher one waits for the receiver's Rollback, which SetPeers precedes,
//	         so that every frame of an attempt goes to those who hold the slots in it
//
// Credit is per link (Config.Window), so that no link waits for another one's receiver, and bounds
// everything: what the sender keeps, what is in flight, what the inbox holds and what its reader has not
// released. An event larger than the window goes when nothing is in flight. Barriers, ends and what
// flows back need no credit. Ack and Credit wait for more to go with them, in one write, since each wakes the
// sender: at once after 512 frames or a quarter of the window, else up to 25 ms; up to 2 where events are so large
// that a sender waits for nothing to be in flight, where a payload that was read in place isn't any more, and
// where the sender chooses among slots and this one has just done with an event of more than 2 ms.
//
// # A process that dies
//
// A function that holds its mesh in its own process may die, and is started again in its container with the
// same slot and the same incarnation. Nothing is rolled back: its next mesh goes on where the last one was,
// by the memory that outlives both (Config.Progress). It has a life more than that one.
//
// A mesh with a progress acknowledges what is done, not what is here, and returns credit with it. An event is
// done when its Item has been released, all before it on its link too, and everything that was sent before
// the release has been written to the streams: it is in a ring's memory or in a socket then, where the peer
// finds it after our death. A barrier or an end is done when the alignment has it: it is noted in the
// progress until it has been passed on, and waits there for the other inputs in the next life as well, so
// that what comes behind it on its link is not repeated for it. Only what is noted behind frames that are
// all done is brought back; the rest comes again behind those. Its user therefore sends what comes of an
// event before it releases it, and releases what is before a barrier before it passes that on.
//
// As receiver the next mesh welcomes with the number up to which everything was done; the sender has kept the
// rest. As sender it takes the numbers over from the welcome and has nothing to send again. The peer, who
// sees the new life in its hello, reads the old stream to its end first, for 5 s at most, since nobody else has
// what is in it. The hello of an older life is refused.
//
// So nothing is lost, and twice comes only what comes of events that were in work when the process died: not
// released, or not all written and marked, and events released behind one of these on the same link. An
// end is given to each life again. If both processes of a link die before the receiver is done with what the
// sender's last life has written, it is lost: the sender's next life finds out by the number it noted and the
// one in the welcome, and tells Config.Lost, for a rollback. A link for which there was no room to note a number
// counts as one with a loss, when its receiver has begun anew as well.
//
// # Latency and batches
//
// No timer delays an event. A link's writer sleeps only when there is nothing to write; Send wakes it, or writes
// in its place where the stream is empty and takes the frame without waiting (transport.Roomy).
// While it writes, further events gather behind it in the buffers they are kept in, and go with the next
// write: batches form by themselves when the link is busy. One reading of the clock stamps up to 32
// frames. A reader cuts as many frames as a read has brought, and gives them to the inbox under one
// lock. An event is copied once at the sender, into the log; at the receiver an Item refers to the
// reader's buffer until its Release, and only a frame that a buffer's end has cut is copied. Nothing is
// allocated per event.
//
// Who receives, reads: where one link comes in, over a stream that can be roused (transport.Rousable), Receive reads it
// itself, and an event wakes one goroutine instead of two. The link's own goroutine reads before the first Receive, while
// there are other links, and from the stream's end on, which it watches: who receives may be busy with an event.
//
// # Payloads in place
//
// Alloc gives memory that receivers on the same host read where it was written (arena; FRAME.md, References). The log
// keeps the frame without its payload and holds that; only when the frame is written it is decided whether it brings
// the payload or refers to it, so that a link that moves to another carrier resends either. The receiver's Item has
// the sender's bytes, and its Release lets them go; a receiver of a new incarnation, or in another life,
// has let go of all. What isn't in such memory, is smaller than ReferFrom, or has no place in it any more is copied.
//
// # Goroutines
//
//	goroutine        number           ends with             does
//	acceptLoop       1                Close                 takes streams that peers open
//	linkLoop         incoming stream  its session           hello, then readLoop, unless Receive reads
//	inLink.ackLoop   incoming link    its session           writes Ack, Credit, Bye
//	dialLoop         outgoing link    Close                 dials, then writeLoop
//	outLink.readLoop outgoing link    its session           takes Ack, Credit, Bye
//	guestLoop        guest's stream   Guests.Serve, Close   speaks with a peer that holds no slot
//
// Close waits for all of them: a session writes its goodbye first, for a second at most.
//
// Locks, in the order in which they may be taken: Mesh.mu, inbox.mu, input.mu, outEdge.mu, progress.mu,
// inLink.mu, Mesh.links.mu; an arena's come last.
package quicmesh
