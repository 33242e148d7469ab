//! The letter slot: connections to a port of the host, carried to a port of the room.
//!
//! No bridge, no packet filter, no helper process: a thread that has joined the room's network connects there, and two threads carry the bytes
//! of each connection.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread;

use nix::poll::{PollFd, PollFlags, poll};

use super::Room;

/// How often it is looked whether a slot is to be closed, in milliseconds.
const SLICE: u8 = 50;

/// A port of the host that leads into a room.
#[derive(Debug)]
pub struct Slot {
    listener: TcpListener,
    port: u16,
}

impl Slot {
    /// Takes the host's address; connections wait until [`Slot::serve`].
    ///
    /// # Errors
    ///
    /// bind(2): EADDRINUSE, EACCES for a low port, EADDRNOTAVAIL.
    pub fn bind(host: SocketAddr, port: u16) -> io::Result<Self> {
        Ok(Slot { listener: TcpListener::bind(host)?, port })
    }

    /// Carries connections until `over`, in threads of its own that have ended when this returns. The app in the room has to be gone by then, as
    /// its side of a connection is waited for.
    pub fn serve_until(&self, room: &Room, over: &AtomicBool) {
        thread::scope(|scope| {
            let mut callers: Vec<Weak<TcpStream>> = Vec::new();
            while !over.load(Ordering::Acquire) {
                let mut ready = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
                if !poll(&mut ready, SLICE).is_ok_and(|ready| ready > 0) {
                    continue;
                }
                let Ok((connection, _)) = self.listener.accept() else { continue };
                // Whoever carries it closes it: a caller whose app is not there yet is not kept waiting.
                let connection = Arc::new(connection);
                callers.retain(|caller| caller.strong_count() > 0);
                callers.push(Arc::downgrade(&connection));
                scope.spawn(move || drop(carry(&connection, room, self.port)));
            }
            for caller in callers.iter().filter_map(Weak::upgrade) {
                // One that has left is no loss.
                let _ = caller.shutdown(Shutdown::Both);
            }
        });
    }

    /// Carries connections from now on until the process ends, in threads of its own.
    pub fn serve(self, room: Arc<Room>) {
        thread::spawn(move || {
            // An accept that fails (the caller left, descriptors ran out) leaves the next one a chance.
            for connection in self.listener.incoming().flatten() {
                let room = Arc::clone(&room);
                thread::spawn(move || {
                    // The caller sees a connection that is closed, as behind any proxy whose server is not there.
                    let _ = carry(&connection, &room, self.port);
                });
            }
        });
    }
}

fn carry(outside: &TcpStream, room: &Room, port: u16) -> io::Result<()> {
    room.join()?;
    let inside = TcpStream::connect((room.address(), port))?;
    let (mut from_outside, mut to_inside) = (outside.try_clone()?, inside.try_clone()?);
    let forth = thread::spawn(move || {
        let _ = io::copy(&mut from_outside, &mut to_inside);
        let _ = to_inside.shutdown(Shutdown::Write);
    });
    let (mut from_inside, mut to_outside) = (inside, outside);
    let _ = io::copy(&mut from_inside, &mut to_outside);
    let _ = outside.shutdown(Shutdown::Write);
    let _ = forth.join();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_goes_in_comes_out_at_the_other_side() {
        let app = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = app.local_addr().unwrap().port();
        let echo = thread::spawn(move || {
            let (mut connection, _) = app.accept().unwrap();
            let mut text = String::new();
            connection.read_to_string(&mut text).unwrap();
            connection.write_all(text.to_uppercase().as_bytes()).unwrap();
        });
        let slot = Slot::bind("127.0.0.1:0".parse().unwrap(), port).unwrap();
        let address = slot.listener.local_addr().unwrap();
        slot.serve(Arc::new(Room::host()));
        let mut caller = TcpStream::connect(address).unwrap();
        caller.write_all(b"letter").unwrap();
        caller.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        caller.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "LETTER");
        echo.join().unwrap();
    }

    #[test]
    fn a_caller_is_not_kept_waiting_for_an_app_that_is_not_there() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let slot = Slot::bind("127.0.0.1:0".parse().unwrap(), nobody).unwrap();
        let address = slot.listener.local_addr().unwrap();
        let (room, over) = (Room::host(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| slot.serve_until(&room, &over));
            let mut answer = Vec::new();
            let read = TcpStream::connect(address).unwrap().read_to_end(&mut answer);
            over.store(true, Ordering::Release);
            assert!(answer.is_empty() && read.is_ok_and(|count| count == 0));
        });
    }

    #[test]
    fn a_slot_closes_although_a_caller_stays() {
        let app = TcpListener::bind("127.0.0.1:0").unwrap();
        let slot = Slot::bind("127.0.0.1:0".parse().unwrap(), app.local_addr().unwrap().port()).unwrap();
        let address = slot.listener.local_addr().unwrap();
        let (room, over) = (Room::host(), AtomicBool::new(false));
        thread::scope(|scope| {
            let serving = scope.spawn(|| slot.serve_until(&room, &over));
            let mut caller = TcpStream::connect(address).unwrap();
            // The app answers, and goes away.
            let (mut connection, _) = app.accept().unwrap();
            connection.write_all(b"hello").unwrap();
            let mut answer = [0; 5];
            caller.read_exact(&mut answer).unwrap();
            drop(connection);
            over.store(true, Ordering::Release);
            serving.join().unwrap();
            assert_eq!(caller.read(&mut answer).unwrap(), 0);
        });
    }
}
