//! A server that has time, for the tests of time limits.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Duration;

use reqwest::Url;

/// Shorter than the body of a dripping server takes, longer than a pause between two drops.
pub(crate) const IDLE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of the body, a pause before each.
pub(crate) const SIZE: usize = 20;

/// What comes of the body.
#[derive(Clone, Copy)]
pub(crate) enum Body {
    /// All of it, drop by drop.
    Drips,
    /// The first byte, and then nothing until the client is gone.
    Stalls,
    /// All of it at once, below a head that says that it is elsewhere.
    Moved(&'static str),
}

/// Answers one request.
pub(crate) fn serve(body: Body) -> Url {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        let status = match body {
            Body::Drips | Body::Stalls => "200 OK",
            Body::Moved(head) => head,
        };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {SIZE}\r\n\r\n").unwrap();
        match body {
            Body::Drips => {
                for _ in 0..SIZE {
                    thread::sleep(PAUSE);
                    stream.write_all(b"x").unwrap();
                }
            }
            Body::Stalls => {
                stream.write_all(b"x").unwrap();
                let _gone = reader.read(&mut [0]);
            }
            Body::Moved(_) => stream.write_all(&[b'x'; SIZE]).unwrap(),
        }
    });
    Url::parse(&url).unwrap()
}
