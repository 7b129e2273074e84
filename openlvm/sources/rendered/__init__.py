"""Objects in the round: meshes drawn from many sides, with depth, normals and parts."""
