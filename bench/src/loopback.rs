//! TCP connections over the loopback device.

use std::error::Error;
use std::io;
use std::net::{TcpListener, TcpStream};

use crate::rendezvous::Rendezvous;

/// Returns the two ends of a new connection, blocking, without Nagle's delay.
pub fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// Returns this server's end of a connection between the two servers of a rendezvous, blocking, without Nagle's delay.
pub fn between(rendezvous: &mut Rendezvous) -> Result<TcpStream, Box<dyn Error + Send + Sync>> {
    let socket = if rendezvous.index() == 0 {
        let addresses = rendezvous.exchange(String::new())?;
        TcpStream::connect(&addresses[1])?
    } else {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        rendezvous.exchange(listener.local_addr()?.to_string())?;
        listener.accept()?.0
    };
    socket.set_nodelay(true)?;
    Ok(socket)
}
