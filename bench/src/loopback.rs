//! A TCP connection over the loopback device.

use std::io;
use std::net::{TcpListener, TcpStream};

/// The two ends of a new connection, blocking, without Nagle's delay.
pub fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}
