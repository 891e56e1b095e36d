//! s3s-fs with what backup programs need of it.

use std::io::SeekFrom;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;

use s3s::dto::{GetObjectInput, ListObjectsInput, ListObjectsV2Input, Range, StreamingBlob};
use s3s::{S3, S3Request, S3Response, S3Result, dto};
use s3s_fs::FileSystem;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

/// s3s-fs reads 4 KiB at a time, each a round trip to another thread.
const READ: usize = 512 << 10;

/// Passes everything on to s3s-fs but listings with an empty delimiter, which mean "without one" (restic's client library
/// sends them, and `restic check` fails on an answer that takes them literally), and the bodies of objects.
#[derive(Debug)]
pub(super) struct BucketDirectory {
    root: PathBuf,
    files: FileSystem,
}

impl BucketDirectory {
    pub(super) fn new(root: PathBuf, files: FileSystem) -> Self {
        Self { root, files }
    }

    /// The object's file, opened; `None` for keys that are no plain path, which stay s3s-fs's business.
    async fn open(&self, bucket: &str, key: &str) -> Option<File> {
        let plain = |text: &str| Path::new(text).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain(bucket) || !plain(key) {
            return None;
        }
        File::open(self.root.join(bucket).join(key)).await.ok()
    }
}

/// Where a range starts in an object of this size, once s3s-fs has accepted the range.
fn start(range: Option<Range>, size: u64) -> u64 {
    match range {
        None => 0,
        Some(Range::Int { first, .. }) => first,
        Some(Range::Suffix { length }) => size.saturating_sub(length),
    }
}

fn meant(delimiter: Option<String>) -> Option<String> {
    delimiter.filter(|delimiter| !delimiter.is_empty())
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = S3Result<S3Response<T>>> + Send + 'a>>;

/// The form that `async_trait` would give these methods, could it look into a macro.
macro_rules! pass_on {
    ($($operation:ident: $input:ident => $output:ident),* $(,)?) => {
        $(fn $operation<'a, 'b>(&'a self, request: S3Request<dto::$input>) -> Answer<'b, dto::$output>
        where
            'a: 'b,
            Self: 'b,
        {
            self.files.$operation(request)
        })*
    };
}

#[async_trait::async_trait]
impl S3 for BucketDirectory {
    async fn list_objects(
        &self,
        mut request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<dto::ListObjectsOutput>> {
        request.input.delimiter = meant(request.input.delimiter);
        self.files.list_objects(request).await
    }

    async fn list_objects_v2(
        &self,
        mut request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        request.input.delimiter = meant(request.input.delimiter);
        self.files.list_objects_v2(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<dto::GetObjectOutput>> {
        let (bucket, key, range) = (request.input.bucket.clone(), request.input.key.clone(), request.input.range);
        let mut response = self.files.get_object(request).await?;
        let length = response.output.content_length.and_then(|length| u64::try_from(length).ok());
        if let (Some(mut file), Some(length)) = (self.open(&bucket, &key).await, length) {
            let size = file.metadata().await.map(|metadata| metadata.len());
            let whole = size.as_ref().is_ok_and(|size| start(range, *size) + length <= *size);
            if let (Ok(size), true) = (size, whole)
                && file.seek(SeekFrom::Start(start(range, size))).await.is_ok()
            {
                let body = ReaderStream::with_capacity(file.take(length), READ);
                response.output.body = Some(StreamingBlob::wrap(body));
            }
        }
        Ok(response)
    }

    pass_on! {
        abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
        complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput,
        copy_object: CopyObjectInput => CopyObjectOutput,
        create_bucket: CreateBucketInput => CreateBucketOutput,
        create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
        delete_bucket: DeleteBucketInput => DeleteBucketOutput,
        delete_object: DeleteObjectInput => DeleteObjectOutput,
        delete_objects: DeleteObjectsInput => DeleteObjectsOutput,
        get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput,
        head_bucket: HeadBucketInput => HeadBucketOutput,
        head_object: HeadObjectInput => HeadObjectOutput,
        list_buckets: ListBucketsInput => ListBucketsOutput,
        list_parts: ListPartsInput => ListPartsOutput,
        put_object: PutObjectInput => PutObjectOutput,
        upload_part: UploadPartInput => UploadPartOutput,
        upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput,
    }
}
