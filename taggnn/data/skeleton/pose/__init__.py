"""Skeletons from videos: landmarks by MediaPipe, persons followed over the frames, joints of published skeletons."""
