//! A storage behind a slow line: a container that is stopped for its backup is down only as long as its data takes to
//! read.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use libtest_mimic::Trial;
use lifeboat_tests::gate::trial;
use lifeboat_tests::repository::TestRepository;
use lifeboat_tests::s3::S3;

use crate::BINARIES;
use crate::docker::{Docker, Playground, docker, eventually, state};

pub(crate) fn trials() -> Vec<Trial> {
    let found = Docker::find().and_then(|docker| Ok((docker, S3::find("LIFEBOAT_TEST_S3")?)));
    vec![trial("slow::a_container_is_down_while_it_is_read_and_no_longer", found, |(docker, s3)| {
        down(&docker, &s3);
        Ok(())
    })]
}

/// How many bytes go out in a second.
const RATE: u32 = 2_000_000;

/// Listens on loopback and forwards to `server`, at [`RATE`]; returns its address.
fn slow_line(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
            let (back_from, back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            // The line is shared: both uploads together get the rate, each half of it.
            thread::spawn(move || carry(client, server, Some(RATE / 2)));
            thread::spawn(move || carry(back_from, back_to, None));
        }
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream, rate: Option<u32>) {
    let mut buffer = vec![0; 32 << 10];
    while let Ok(length) = from.read(&mut buffer)
        && length > 0
        && to.write_all(&buffer[..length]).is_ok()
    {
        if let Some(rate) = rate {
            thread::sleep(Duration::from_secs(1) * u32::try_from(length).unwrap() / rate);
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn down(found: &Docker, s3: &S3) {
    let is_long = std::env::var_os("LIFEBOAT_LONG").is_some_and(|value| !value.is_empty());
    let mib = if is_long { 200 } else { 48 };
    let play = Playground::new();
    let volume = play.volume("data");
    let script = format!("head -c {} /dev/urandom > /data/noise; exec sleep 600", mib << 20);
    let app = play.run("app", &["-v", &format!("{volume}:/data"), &found.busybox, "sh", "-c", &script]);
    eventually("the container has written", || {
        let size = ["exec", &app, "sh", "-c", "stat -c %s /data/noise || true"];
        docker(&size) == (mib << 20).to_string()
    });
    let rested = |repo: &mut TestRepository| -> (f64, f64) {
        repo.variables.push(("DOCKER_HOST".to_owned(), found.host.clone()));
        let began = std::time::Instant::now();
        let said = repo.backup(["run", "--volume", &volume, "--json"]).expect_code(0);
        assert_eq!(state(&app), "running");
        (said.json()["rest_seconds"].as_f64().unwrap(), began.elapsed().as_secs_f64())
    };
    let mut near = TestRepository::without_repository(BINARIES);
    near.init().expect_code(0);
    let (quick, _) = rested(&mut near);
    let mut far = TestRepository::on_s3(BINARIES, s3);
    far.init().expect_code(0);
    let server = s3.endpoint.trim_start_matches("http://").to_owned();
    let slow = format!("http://{}", slow_line(server));
    for (_, value) in far.variables.iter_mut().filter(|(_, value)| *value == s3.endpoint) {
        value.clone_from(&slow);
    }
    let (down, whole) = rested(&mut far);
    assert!(whole > f64::from(mib) * 0.4, "the line is slow: {whole} s for {mib} MiB");
    // A stop and a start take some tenths of a second, sometimes more and sometimes less.
    assert!(down <= 1.2 * quick + 1.0, "down {down} s of {whole}, and {quick} s where the storage is near");
}
