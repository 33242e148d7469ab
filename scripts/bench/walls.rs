//! The app of `scripts/bench/walls`: does one thing again and again, and prints the nanoseconds that each took.
//!
//! `walls WHAT MILLISECONDS`, WHAT being getppid, open, or connect, which needs a `walls accept` in the same network.

use std::fs::File;
use std::hint::black_box;
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const PORT: u16 = 8080;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words[1] == "accept" {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).expect("listening on a port of its own");
        listener.incoming().for_each(drop);
    }
    let milliseconds = words[2].parse().expect("a number of milliseconds");
    let program = words[0].clone();
    let once: Box<dyn Fn()> = match words[1].as_str() {
        "getppid" => Box::new(|| {
            black_box(std::os::unix::process::parent_id());
        }),
        "open" => Box::new(move || drop(File::open(&program).expect("its own program"))),
        "connect" => Box::new(|| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).expect("connecting");
            // Until the other side has closed it.
            stream.read(&mut [0]).expect("an end");
        }),
        other => panic!("{other} is none of getppid, open, connect, accept"),
    };
    let batch = if words[1] == "getppid" { 1000 } else { 20 };
    let run = |time: Duration| {
        let (begun, mut count) = (Instant::now(), 0u32);
        while begun.elapsed() < time {
            (0..batch).for_each(|_| once());
            count += batch;
        }
        begun.elapsed().as_nanos() as f64 / f64::from(count)
    };
    run(Duration::from_millis(milliseconds / 4));
    println!("{:.2}", run(Duration::from_millis(milliseconds)));
}
