// Where a result is, and where something is that browsers can show of it.

/** Longest side of a preview, in pixels. */
const LARGEST_PREVIEW_PX = 2048;

/** Formats that most browsers cannot show: such a result is not fetched whole to find out. */
const UNSHOWABLE = new Set(["image/tiff"]);

export function resultAddress({ jobId }) {
  return `v1/jobs/${jobId}/result`;
}

export function previewAddress(picture) {
  return `${resultAddress(picture)}?max_side=${LARGEST_PREVIEW_PX}`;
}

/** Whether browsers show the result itself. */
export function isShowable({ job: { result } }) {
  return !UNSHOWABLE.has(result.media_type);
}
