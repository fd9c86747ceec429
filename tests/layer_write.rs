//! Writing layers.
use rbuild::layer::Encoding;
use rbuild::layer::compress::{CompressError, compress};
use rbuild::oci::Compression;
use std::io::{Read, Write};

#[test]
#[ignore = "measures"]
fn bench_compress() {
    let path = std::env::var("BENCH_FILE").unwrap();
    for (c, l) in [
        (Compression::Gzip, 1),
        (Compression::Gzip, 2),
        (Compression::Gzip, 3),
        (Compression::Gzip, 4),
        (Compression::Gzip, 5),
        (Compression::Gzip, 6),
        (Compression::Gzip, 9),
        (Compression::Zstd, 3),
    ] {
        let t = std::time::Instant::now();
        let encoding = Encoding::new(c, Some(l)).unwrap();
        let (_, out) = compress::<_, CompressError>(encoding, None, &Default::default(), std::io::sink(), |input| {
            let mut f = std::fs::File::open(&path).unwrap();
            let mut b = vec![0; 1 << 18];
            loop {
                let n = f.read(&mut b).unwrap();
                if n == 0 {
                    break;
                }
                input.write_all(&b[..n]).unwrap();
            }
            Ok(())
        })
        .unwrap();
        println!(
            "{c:?} {l}: {:.2}s {} {}",
            t.elapsed().as_secs_f64(),
            out.size,
            std::fs::read_to_string("/proc/loadavg").unwrap()
        );
    }
}
